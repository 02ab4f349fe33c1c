"""The rows of the comparison as a table: means over seeds and cases, and paired tests against a baseline."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from nnunet_pyconv import markdown
from nnunet_pyconv.errors import InputError
from nnunet_pyconv.evaluation.metrics import difference, estimate
from nnunet_pyconv.writing import check_target, whole_files

Row = Mapping[str, str]
Key = tuple[str, int, str]
"""Data set, iterations, design."""

_SHOWN = (("iou", 4), ("mean_iou", 4), ("hd95", 2), ("nsd", 4), ("v_rand", 4), ("v_info", 4))
_ONLY_CELLS = ("v_rand", "v_info")


@dataclass(frozen=True)
class Entry:
    """A design on a data set after so many iterations.

    Attributes:
        dataset: Key of the data set.
        iterations: Training steps.
        design: The design.
        dice: `(seeds, cases)`.
        metrics: Mean over seeds of each further metric; NaN where it isn't one of the data set.
        pseudo_dice: `(seeds, epochs)`, of the validation patches.
    """

    dataset: str
    iterations: int
    design: str
    dice: NDArray[np.float64]
    metrics: Mapping[str, float]
    pseudo_dice: NDArray[np.float64]


@dataclass(frozen=True)
class Summary:
    """All entries, and the design that the others are compared with."""

    entries: Mapping[Key, Entry]
    baseline: str

    def to_markdown(self) -> str:
        """Return a table for each data set and number of iterations."""
        lines: list[str] = []
        for dataset, iterations in sorted({key[:2] for key in self.entries}):
            group = [entry for key, entry in sorted(self.entries.items()) if key[:2] == (dataset, iterations)]
            shown = [each for each in _SHOWN if dataset == "isbi_cell" or each[0] not in _ONLY_CELLS]
            columns = ["design", "seeds", "Dice (95 % interval over cases)", "spread of seeds"]
            columns += [f"- {self.baseline} (p)", *(name for name, _ in shown)]
            rows = [
                [
                    entry.design,
                    str(len(entry.dice)),
                    _interval(entry.dice),
                    f"{np.ptp(entry.dice.mean(axis=1)):.4f}",
                    self._difference(entry),
                    *(f"{entry.metrics[name]:.{decimals}f}" for name, decimals in shown),
                ]
                for entry in group
            ]
            lines += [f"**{dataset}, {iterations} iterations, {group[0].dice.shape[1]} unseen cases**", ""]
            lines += [*markdown.table(columns, rows, numeric=range(1, len(columns))), ""]
        return "\n".join(lines)

    def _difference(self, entry: Entry) -> str:
        """Mean difference in Dice of the common seeds' means, case by case, and Wilcoxon's p over the cases."""
        baseline = self.entries.get((entry.dataset, entry.iterations, self.baseline))
        if baseline is None or baseline is entry:
            return "-"
        found = difference(entry.dice.mean(axis=0), baseline.dice.mean(axis=0))
        return f"{found.mean:+.4f} ({found.p:.3f})"

    def write(self, folder: Path, *, overwrite: bool = False) -> None:
        """Write `designs.md` and the learning curves, `designs.png`.

        Raises:
            InputError: They exist and `overwrite` is false, or the folder can't be written.
        """
        files = (folder / "designs.md", folder / "designs.png")
        for file in files:
            check_target(file, overwrite=overwrite, kind="file")
        with whole_files(*files) as (table, picture):
            table.write_text(self.to_markdown(), "utf-8")
            self._draw_curves(picture)

    def _draw_curves(self, file: Path) -> None:
        groups = sorted({key[:2] for key in self.entries})
        figure = Figure(figsize=(5 * len(groups), 4), layout="constrained")
        for axis, (dataset, iterations) in zip(figure.subplots(1, len(groups), squeeze=False)[0], groups, strict=True):
            for key, entry in sorted(self.entries.items()):
                if key[:2] == (dataset, iterations):
                    epochs = np.arange(1, entry.pseudo_dice.shape[1] + 1)
                    axis.plot(epochs * iterations / len(epochs), entry.pseudo_dice.mean(axis=0), label=entry.design)
            axis.set(title=f"{dataset}, {iterations} iterations", xlabel="iteration", ylabel="Dice, validation patches")
            axis.legend(fontsize=7)
        figure.savefig(file, dpi=100)


def summarise(rows: Sequence[Row], baseline: str) -> Summary:
    """Summarise the rows of all seeds.

    Args:
        rows: Of the CSV file.
        baseline: Name of the design that the others are compared with.

    Raises:
        InputError: There is no row.
    """
    if not rows:
        raise InputError("the file has no rows yet; train designs first, with --designs")
    keys = sorted({(row["dataset"], int(row["iterations"]), row["design"]) for row in rows})
    return Summary({key: _entry(key, rows) for key in keys}, baseline)


def _entry(key: Key, rows: Sequence[Row]) -> Entry:
    mine = [row for row in rows if (row["dataset"], int(row["iterations"]), row["design"]) == key]
    dataset, iterations, design = key
    return Entry(
        dataset,
        iterations,
        design,
        dice=np.array([_numbers(row["dice_of_cases"]) for row in mine]),
        metrics={name: float(np.mean([float(row[name]) for row in mine])) for name, _ in _SHOWN},
        pseudo_dice=np.array([_numbers(row["pseudo_dice_of_epochs"]) for row in mine]),
    )


def _numbers(text: str) -> list[float]:
    return [float(number) for number in text.split()]


def _interval(dice: NDArray[np.float64]) -> str:
    found = estimate(dice.mean(axis=0))
    return f"{found.mean:.4f} ({found.low:.4f}-{found.high:.4f})"
