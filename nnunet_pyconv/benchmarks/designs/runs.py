"""The runs of the comparison: one training each, a row each in a CSV file that is only appended to."""

from __future__ import annotations

import csv
import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from nnunet_pyconv.benchmarks.designs.data import COMPARED_DATASETS, PreparedDataset
from nnunet_pyconv.benchmarks.designs.design import ComparedDesign, parse_design
from nnunet_pyconv.benchmarks.designs.scoring import METRICS, score_cases
from nnunet_pyconv.benchmarks.designs.training import train_and_predict
from nnunet_pyconv.errors import InputError

BOUNDARY = "boundary"
# of the CSV file, which grows from run to run
COLUMNS = (
    "dataset",
    "design",
    "teacher",
    "loss",
    "iterations",
    "seed",
    *METRICS,
    "training_s",
    "dice_of_cases",
    "pseudo_dice_of_epochs",
)


@dataclass(frozen=True)
class DesignRun:
    """A training of a design on a data set.

    Attributes:
        dataset: Key of the data set.
        design: The design.
        iterations: Training steps.
        seed: Of the weights and the batches.
        teacher: The design that it learns from beside the labels, see `DistilledTrainer`; None for none.
        boundary: Whether the loss is that of `BoundaryTrainer`.

    Raises:
        InputError: A teacher and the loss of boundaries.
    """

    dataset: str
    design: ComparedDesign
    iterations: int
    seed: int
    teacher: ComparedDesign | None = None
    boundary: bool = False

    def __post_init__(self) -> None:
        if self.teacher is not None and self.boundary:
            raise InputError("--teacher and --boundary: expected one of them")

    def __str__(self) -> str:
        learning = "" if self.teacher is None else f"_from_{self.teacher.name}"
        learning += f"_{BOUNDARY}" if self.boundary else ""
        return f"{self.dataset}_{self.design.name}{learning}_it{self.iterations}_seed{self.seed}"

    @property
    def run_of_the_teacher(self) -> DesignRun | None:
        """The run whose network teaches: of the same data set, seed and number of iterations."""
        return None if self.teacher is None else replace(self, design=self.teacher, teacher=None)


def done_runs(file: Path) -> set[DesignRun]:
    """Return the runs that have a row in the file; none where it isn't there."""
    return {
        DesignRun(
            row["dataset"],
            parse_design(row["design"]),
            int(row["iterations"]),
            int(row["seed"]),
            parse_design(row["teacher"]) if row["teacher"] else None,
            row["loss"] == BOUNDARY,
        )
        for row in read_rows(file)
    }


def read_rows(file: Path) -> list[dict[str, str]]:
    """Read the rows; none where the file isn't there.

    Raises:
        InputError: The file has other columns, or rows of other data sets.
    """
    if not file.exists():
        return []
    if not file.is_file():
        raise InputError(f"--rows {file} is no file; give a CSV file, which is made where it is not there")
    with file.open(newline="") as stream:
        reader = csv.DictReader(stream)
        if tuple(reader.fieldnames or ()) != COLUMNS:
            raise InputError(f"--rows {file} has other columns than {', '.join(COLUMNS)}; give another file")
        rows = list(reader)
    if broken := [number for number, row in enumerate(rows, 2) if None in row.values() or None in row]:
        raise InputError(f"--rows {file} has a broken row, {broken[0]}, as a full disk leaves it; remove that line")
    if unknown := sorted({row["dataset"] for row in rows} - set(COMPARED_DATASETS)):
        raise InputError(f"--rows {file} has rows of {', '.join(unknown)}; expected {', '.join(COMPARED_DATASETS)}")
    return rows


def execute(run: DesignRun, prepared: PreparedDataset, folder: Path, rows: Path, device: torch.device) -> None:
    """Train, predict the unseen cases, score them, and append the row.

    Args:
        run: What to train.
        prepared: The data set.
        folder: Where checkpoints and predictions go, below the name of the run.
        rows: The CSV file.
        device: Where to train.

    Raises:
        InputError: The network that teaches isn't trained to its end in this folder.
    """
    begin = time.monotonic()
    pseudo_dice = train_and_predict(
        prepared.plans(run.design),
        prepared.compared.configuration,
        prepared.dataset_json,
        results=folder / str(run),
        images=prepared.test_images(),
        predictions=folder / str(run) / "test",
        iterations=run.iterations,
        seed=run.seed,
        device=device,
        teacher=None if run.run_of_the_teacher is None else folder / str(run.run_of_the_teacher),
        boundary=run.boundary,
    )
    seconds = time.monotonic() - begin
    scores = score_cases(prepared, folder / str(run) / "test")
    row: dict[str, Any] = {
        "dataset": run.dataset,
        "design": run.design.name,
        "teacher": "" if run.teacher is None else run.teacher.name,
        "loss": BOUNDARY if run.boundary else "",
        "iterations": run.iterations,
        "seed": run.seed,
        **{metric: f"{_mean(scores[metric]):.5f}" for metric in METRICS},
        "training_s": f"{seconds:.0f}",
        "dice_of_cases": _joined(scores["dice"]),
        "pseudo_dice_of_epochs": _joined(pseudo_dice),
    }
    append_row(rows, row)


def append_row(file: Path, row: Mapping[str, Any]) -> None:
    """Append a row, with the header where the file is new."""
    file.parent.mkdir(parents=True, exist_ok=True)
    new = not file.exists()
    with file.open("a", newline="") as stream:
        writer = csv.DictWriter(stream, COLUMNS, lineterminator="\n")
        if new:
            writer.writeheader()
        writer.writerow(row)


def _mean(values: Sequence[float]) -> float:
    """The mean of the cases that have a score; NaN where none has."""
    known = [value for value in values if not math.isnan(value)]
    return float(np.mean(known)) if known else math.nan


def _joined(values: Sequence[float]) -> str:
    return " ".join(f"{value:.4f}" for value in values)
