"""What the rows of one design say together."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Row = Mapping[str, str]
Key = tuple[str, int, str, str, str]
"""Data set, iterations, design, teacher, loss."""


@dataclass(frozen=True)
class Entry:
    """A design on a data set after so many iterations.

    Attributes:
        dataset: Key of the data set.
        iterations: Training steps.
        design: The design.
        teacher: The design that it learned from; empty for none.
        loss: What is added to nnU-Net's loss; empty for nothing.
        seeds: Of the trainings.
        dice: `(seeds, cases)`.
        metrics: Mean over seeds of each further metric; NaN where it isn't one of the data set.
        pseudo_dice: `(seeds, epochs)`, of the validation patches.
    """

    dataset: str
    iterations: int
    design: str
    teacher: str
    loss: str
    seeds: tuple[int, ...]
    dice: NDArray[np.float64]
    metrics: Mapping[str, float]
    pseudo_dice: NDArray[np.float64]

    @property
    def label(self) -> str:
        """What tables and pictures call it."""
        taught = f", taught by {self.teacher}" if self.teacher else ""
        return f"{self.design}{taught}" + (f", {self.loss} loss" if self.loss else "")

    def dice_of_seeds(self, seeds: Sequence[int]) -> NDArray[np.float64]:
        """Return the Dice of some of the seeds, `(seeds, cases)`."""
        return self.dice[[self.seeds.index(seed) for seed in seeds]]


def key_of(row: Row) -> Key:
    """Return the key of a row."""
    return row["dataset"], int(row["iterations"]), row["design"], row["teacher"], row["loss"]


def entry_of(key: Key, rows: Sequence[Row], metrics: Sequence[str]) -> Entry:
    """Put together the rows of a key, of which there must be some."""
    mine = [row for row in rows if key_of(row) == key]
    dataset, iterations, design, teacher, loss = key
    return Entry(
        dataset,
        iterations,
        design,
        teacher,
        loss,
        seeds=tuple(int(row["seed"]) for row in mine),
        dice=np.array([_numbers(row["dice_of_cases"]) for row in mine]),
        metrics={name: float(np.mean([float(row[name]) for row in mine])) for name in metrics},
        pseudo_dice=np.array([_numbers(row["pseudo_dice_of_epochs"]) for row in mine]),
    )


def _numbers(text: str) -> list[float]:
    return [float(number) for number in text.split()]
