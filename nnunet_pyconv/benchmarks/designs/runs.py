"""The runs of the comparison: one training each, a row each in a CSV file that is only appended to."""

from __future__ import annotations

import csv
import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from nnunet_pyconv.benchmarks.designs.data import Prepared
from nnunet_pyconv.benchmarks.designs.design import design_name, parse_design
from nnunet_pyconv.benchmarks.designs.networks import with_design
from nnunet_pyconv.benchmarks.designs.scoring import METRICS, score_cases
from nnunet_pyconv.benchmarks.designs.training import train_and_predict
from nnunet_pyconv.planning import Design

# of the CSV file, which grows from run to run
COLUMNS = ("dataset", "design", "iterations", "seed", *METRICS, "training_s", "dice_of_cases", "pseudo_dice_of_epochs")


@dataclass(frozen=True)
class Run:
    """A training of a design on a data set.

    Attributes:
        dataset: Key of the data set.
        design: The design.
        iterations: Training steps.
        seed: Of the weights and the batches.
    """

    dataset: str
    design: Design
    iterations: int
    seed: int

    def __str__(self) -> str:
        return f"{self.dataset}_{design_name(self.design)}_it{self.iterations}_seed{self.seed}"


def done_runs(file: Path) -> set[Run]:
    """Return the runs that have a row in the file; none where it isn't there."""
    return {
        Run(row["dataset"], parse_design(row["design"]), int(row["iterations"]), int(row["seed"]))
        for row in read_rows(file)
    }


def read_rows(file: Path) -> list[dict[str, str]]:
    """Read the rows; none where the file isn't there."""
    if not file.exists():
        return []
    with file.open(newline="") as stream:
        return list(csv.DictReader(stream))


def execute(run: Run, prepared: Prepared, folder: Path, rows: Path, device: torch.device) -> None:
    """Train, predict the unseen cases, score them, and append the row.

    Args:
        run: What to train.
        prepared: The data set.
        folder: Where checkpoints and predictions go, below the name of the run.
        rows: The CSV file.
        device: Where to train.
    """
    plans = with_design(prepared.stock_plans(), run.design)
    begin = time.monotonic()
    pseudo_dice = train_and_predict(
        plans,
        prepared.subject.configuration,
        prepared.dataset_json,
        results=folder / str(run),
        images=prepared.test_images(),
        predictions=folder / str(run) / "test",
        iterations=run.iterations,
        seed=run.seed,
        device=device,
    )
    seconds = time.monotonic() - begin
    scores = score_cases(prepared, folder / str(run) / "test")
    row: dict[str, Any] = {
        "dataset": run.dataset,
        "design": design_name(run.design),
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
