"""What to report, and the command line that asks for it."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from nnunet_pyconv.evaluation.models import ModelFilter
from nnunet_pyconv.names import REPORT_FOLDER, REPORT_PROCESSES, REPORT_TOLERANCE


@dataclass(frozen=True)
class ReportRequest:
    """What to report.

    Attributes:
        folder: Where to write; a folder of this report alone.
        datasets: Names or IDs; empty for all that have a trained model of the filter.
        models: Which trained models; None for none, only the predictions.
        predictions: Folders of predicted test cases of the one dataset, by name: that of a trained model
            (`TRAINER__PLANS__CONFIGURATION`), of one of its folds (the same with `/fold_0`), or any other.
        truth: Folder of their truth; None for `labelsTs`.
        baseline: Name of the model to compare with; None, or where a set of cases lacks it, for the rules of
            `find_baselines`.
        tolerance: Of the normalised surface Dice, in mm, or in pixels where the files carry no spacing.
        num_processes: Cases to score at a time.
        overwrite: Whether to replace an earlier report in the folder.
        trust: Whether to load checkpoints that would run code.
    """

    folder: Path = Path(REPORT_FOLDER)
    datasets: Sequence[str] = ()
    models: ModelFilter | None = field(default_factory=ModelFilter)
    predictions: Mapping[str, Path] = field(default_factory=dict)
    truth: Path | None = None
    baseline: str | None = None
    tolerance: float = REPORT_TOLERANCE
    num_processes: int = REPORT_PROCESSES
    overwrite: bool = False
    trust: bool = False

    def command(self) -> str:
        """Return the command line that asks for this report, as `nnunet_pyconv report` reads it."""
        models = self.models or ModelFilter()
        words = ["nnunet_pyconv", "report"]
        for flag, values in (
            ("-d", self.datasets),
            ("-tr", models.trainers),
            ("-p", models.plans),
            ("-c", models.configurations),
            ("--models", list(map(str, models.setups))),
            ("-f", models.folds),
            ("--predictions", [f"{name}={folder}" for name, folder in self.predictions.items()]),
            ("-gt", [] if self.truth is None else [str(self.truth)]),
            ("--baseline", [] if self.baseline is None else [self.baseline]),
            ("--tolerance", [] if self.tolerance == REPORT_TOLERANCE else [f"{self.tolerance:g}"]),
            ("-np", [] if self.num_processes == REPORT_PROCESSES else [str(self.num_processes)]),
            ("-o", [] if self.folder == Path(REPORT_FOLDER) else [str(self.folder)]),
        ):
            words += [flag, *values] if values else []
        return shlex.join(words + ["--overwrite"] * self.overwrite + ["--trust"] * self.trust)
