"""The rows of the comparison as a table: means over seeds and cases, paired tests against a baseline, costs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from nnunet_pyconv import markdown
from nnunet_pyconv.benchmarks.designs import pictures
from nnunet_pyconv.benchmarks.designs.costs import RUNTIMES, DesignCost
from nnunet_pyconv.benchmarks.designs.data import COMPARED_DATASETS
from nnunet_pyconv.benchmarks.designs.entry import Entry, Key, Row, entry_of, key_of
from nnunet_pyconv.errors import InputError
from nnunet_pyconv.evaluation.metrics import difference, estimate
from nnunet_pyconv.writing import check_target, whole_files

_SHOWN = (("iou", 4), ("mean_iou", 4), ("hd95", 2), ("nsd", 4), ("v_rand", 4), ("v_info", 4))
_ONLY_CELLS = ("v_rand", "v_info")


@dataclass(frozen=True)
class Summary:
    """All entries, the design that the others are compared with, and what designs cost.

    Attributes:
        entries: The entries.
        baseline: Name of a design.
        costs: Of the designs, as far as they are known.
    """

    entries: Mapping[Key, Entry]
    baseline: str
    costs: Mapping[str, DesignCost]

    @property
    def groups(self) -> list[list[Entry]]:
        """The entries of each data set and number of iterations: as in `COMPARED_DATASETS`, designs by their names."""
        datasets = list(COMPARED_DATASETS)
        keys = sorted(self.entries, key=lambda key: (datasets.index(key[0]), *key[1:]))
        return [[self.entries[key] for key in group] for _, group in groupby(keys, lambda key: key[:2])]

    def to_markdown(self) -> str:
        """Return a table for each data set and number of iterations, and one of the costs."""
        lines: list[str] = []
        for group in self.groups:
            first = group[0]
            shown = [each for each in _SHOWN if first.dataset == "isbi_cell" or each[0] not in _ONLY_CELLS]
            columns = ["design", "seeds", "Dice (95 % interval over cases)", "spread of seeds"]
            columns += [f"- {self.baseline} (p; seeds above)", *(name for name, _ in shown)]
            rows = [
                [
                    entry.label,
                    str(len(entry.dice)),
                    _interval(entry.dice),
                    "-" if len(entry.dice) == 1 else f"{np.ptp(entry.dice.mean(axis=1)):.4f}",
                    self._difference(entry),
                    *(f"{entry.metrics[name]:.{decimals}f}" for name, decimals in shown),
                ]
                for entry in group
            ]
            lines += [f"**{first.dataset}, {first.iterations} iterations, {first.dice.shape[1]} unseen cases**", ""]
            lines += [*markdown.table(columns, rows, numeric=range(1, len(columns))), ""]
        if self.costs:
            columns = ["design", "parameters, M", "GMac", "step / stock", "peak / stock"]
            columns += [f"{runtime} / stock" for runtime in RUNTIMES]
            rows = [
                [
                    name,
                    f"{cost.parameters_m:.2f}",
                    f"{cost.gmac:.2f}",
                    f"{cost.step:.2f}",
                    "-" if cost.peak is None else f"{cost.peak:.2f}",
                    *(f"{cost.times[each]:.2f}" for each in RUNTIMES),
                ]
                for name, cost in self.costs.items()
            ]
            lines += [
                "**Cost: a training step in PyTorch, its peak memory, and an inference in each runtime**",
                "",
                *markdown.table(columns, rows, numeric=range(1, len(columns))),
                "",
            ]
        return "\n".join(lines)

    def _difference(self, entry: Entry) -> str:
        """Compare the Dice of the common seeds: mean difference, Wilcoxon's p over the cases' means, better seeds."""
        baseline = self.entries.get((entry.dataset, entry.iterations, self.baseline, "", ""))
        common = [] if baseline is None else [seed for seed in entry.seeds if seed in baseline.seeds]
        if baseline is None or baseline is entry or not common:
            return "-"
        mine, its = entry.dice_of_seeds(common), baseline.dice_of_seeds(common)
        found = difference(mine.mean(axis=0), its.mean(axis=0))
        better = int((mine.mean(axis=1) > its.mean(axis=1)).sum())
        return f"{found.mean:+.4f} ({found.p:.3f}; {better} of {len(common)})"

    def write(self, folder: Path, *, overwrite: bool = False) -> None:
        """Write `designs.md` and `designs.png`: learning curves, and where costs are known Dice against cost.

        Raises:
            InputError: They exist and `overwrite` is false, or the folder can't be written.
        """
        files = (folder / "designs.md", folder / "designs.png")
        for file in files:
            check_target(file, overwrite=overwrite, kind="file")
        with whole_files(*files) as (table, picture):
            table.write_text(self.to_markdown(), "utf-8")
            pictures.draw(self.groups, self.costs, picture)


def summarise(rows: Sequence[Row], baseline: str, costs: Mapping[str, DesignCost] | None = None) -> Summary:
    """Summarise the rows of all seeds.

    Args:
        rows: Of the CSV file.
        baseline: Name of the design that the others are compared with.
        costs: Of the designs; None if they are not known.

    Raises:
        InputError: There is no row.
    """
    if not rows:
        raise InputError("the file has no rows yet; train designs first, with --designs")
    keys = sorted({key_of(row) for row in rows})
    entries = {key: entry_of(key, rows, [name for name, _ in _SHOWN]) for key in keys}
    trained = {row["design"] for row in rows}
    return Summary(entries, baseline, {name: cost for name, cost in (costs or {}).items() if name in trained})


def _interval(dice: NDArray[np.float64]) -> str:
    found = estimate(dice.mean(axis=0))
    return f"{found.mean:.4f} ({found.low:.4f}-{found.high:.4f})"
