"""The demo's own nnU-Net folders, apart from the user's."""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from nnunet_pyconv.errors import InputError
from nnunet_pyconv.trainer_dir import TRAINER_DIR


@dataclass(frozen=True)
class Workspace:
    """Where the demo reads and writes; everything lies below `folder`."""

    folder: Path

    @property
    def source(self) -> Path:
        """The synthetic data, in the files of ISBI 2012."""
        return self.folder / "isbi2012_synthetic"

    @property
    def raw(self) -> Path:
        """nnUNet_raw."""
        return self.folder / "nnUNet_raw"

    @property
    def preprocessed(self) -> Path:
        """nnUNet_preprocessed."""
        return self.folder / "nnUNet_preprocessed"

    @property
    def results(self) -> Path:
        """nnUNet_results."""
        return self.folder / "nnUNet_results"

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

    def prepare(self, *, overwrite: bool) -> None:
        """Make the folder, or empty it of an earlier demo.

        Raises:
            InputError: An earlier demo is there and `overwrite` is false, or something that no demo made, which
                is never removed.
        """
        contents = self._contents()
        if contents and not self._marker.exists():
            raise InputError(f"{self.folder} has a {contents[0].name} that no demo made; choose another folder with -o")
        if contents and not overwrite:
            raise InputError(
                f"{self.folder} holds an earlier demo; choose another folder with -o, or replace it with --overwrite"
            )
        self.clear()
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            self._marker.touch()
            for folder in (self.raw, self.preprocessed, self.results):
                folder.mkdir()
        except OSError as error:
            raise InputError(
                f"can't write into {self.folder} ({error.strerror}); give another folder with -o"
            ) from error

    def clear(self) -> None:
        """Remove what a demo wrote, and the folder if nothing else is in it."""
        if not self._marker.exists():
            return
        for path in [*self._contents(), self._marker]:
            if path.is_dir():
                shutil.rmtree(path)
            else:
                path.unlink()
        with contextlib.suppress(OSError):  # something of the user's is in it
            self.folder.rmdir()

    @property
    def _marker(self) -> Path:
        """Says that a demo made the rest: the user's own folders may bear the same names."""
        return self.folder / ".nnunet_pyconv_demo"

    def _contents(self) -> list[Path]:
        ours = (self.source, self.raw, self.preprocessed, self.results, self.predictions, self.picture, self.log)
        return [path for path in ours if path.exists()]

    @contextlib.contextmanager
    def environment(self) -> Iterator[None]:
        """Let nnU-Net see this workspace and our trainers, in this process alone."""
        ours = {
            "nnUNet_raw": str(self.raw),
            "nnUNet_preprocessed": str(self.preprocessed),
            "nnUNet_results": str(self.results),
            "nnUNet_extTrainer": str(TRAINER_DIR),
            # each of nnU-Net's workers imports torch: no more of them than there are cores
            "nnUNet_def_n_proc": str(min(os.cpu_count() or 1, 8)),
        }
        before = {name: os.environ.get(name) for name in ours}
        os.environ.update(ours)
        try:
            yield
        finally:
            for name, value in before.items():
                if value is None:
                    del os.environ[name]
                else:
                    os.environ[name] = value
