"""Where the demo reads and writes."""

from __future__ import annotations

from pathlib import Path

from nnunet_pyconv.synthetic.workspace import Workspace


class DemoFolder(Workspace):
    """A workspace with the demo's data, predictions, picture and log."""

    @property
    def source(self) -> Path:
        """The synthetic data, in the files of ISBI 2012."""
        return self.folder / "isbi2012_synthetic"

    @property
    def predictions(self) -> Path:
        """Predictions of the test cases and nnU-Net's summary.json."""
        return self.folder / "predictions"

    @property
    def picture(self) -> Path:
        """Image, truth and prediction of the test cases."""
        return self.folder / "demo.png"

    @property
    def log(self) -> Path:
        """What nnU-Net printed."""
        return self.folder / "demo.log"

    @property
    def outputs(self) -> tuple[Path, ...]:
        """All that the demo writes."""
        return (*super().outputs, self.source, self.predictions, self.picture, self.log)
