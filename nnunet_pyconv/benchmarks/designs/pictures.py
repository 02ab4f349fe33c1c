"""The pictures of the comparison: learning curves, and Dice against cost."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import cycle
from pathlib import Path

import numpy as np
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from nnunet_pyconv.benchmarks.designs.costs import RUNTIMES, DesignCost
from nnunet_pyconv.benchmarks.designs.data import COMPARED_DATASETS
from nnunet_pyconv.benchmarks.designs.entry import Entry

Colour = tuple[float, float, float, float]


def draw(groups: Sequence[Sequence[Entry]], costs: Mapping[str, DesignCost], file: Path) -> None:
    """Draw a row of axes for each data set and number of iterations.

    Args:
        groups: The entries of each data set and number of iterations.
        costs: Of the designs in 2D; without any, and in 3D, the learning curves are drawn alone.
        file: The PNG.
    """
    columns = 2 if costs else 1
    figure = Figure(figsize=(5 * columns, 3.2 * len(groups)), layout="constrained")
    axes = figure.subplots(len(groups), columns, squeeze=False)
    labels = sorted({entry.label for group in groups for entry in group})
    forty = [colormaps[name](number) for name in ("tab20", "tab20b") for number in range(20)]
    colours = dict(zip(labels, cycle(forty), strict=False))
    for row, group in zip(axes, groups, strict=True):
        title = f"{group[0].dataset}, {group[0].iterations} iterations"
        _draw_curves(row[0], group, colours)
        row[0].set_title(title)
        if costs and COMPARED_DATASETS[group[0].dataset].configuration == "2d":
            _draw_frontier(row[1], group, costs, colours)
            row[1].set_title(title)
        elif costs:
            row[1].set_axis_off()
    figure.savefig(file, dpi=80, format="png", pil_kwargs={"optimize": True})


def _draw_curves(axis: Axes, group: Sequence[Entry], colours: Mapping[str, Colour]) -> None:
    for entry in group:
        epochs = np.arange(1, entry.pseudo_dice.shape[1] + 1)
        iterations, colour = epochs * entry.iterations / len(epochs), colours[entry.label]
        axis.plot(iterations, entry.pseudo_dice.mean(axis=0), color=colour, label=entry.label)
    axis.set(xlabel="iteration", ylabel="Dice, validation patches")
    axis.legend(fontsize=7)


def _draw_frontier(
    axis: Axes, group: Sequence[Entry], costs: Mapping[str, DesignCost], colours: Mapping[str, Colour]
) -> None:
    """Draw each design's Dice, with the range of its seeds, over its time: the mean of the runtimes."""
    for entry in group:
        if entry.design not in costs:
            continue
        cost = float(np.mean([costs[entry.design].times[runtime] for runtime in RUNTIMES]))
        of_seeds = entry.dice.mean(axis=1)
        mean = of_seeds.mean()
        range_ = [[mean - of_seeds.min()], [of_seeds.max() - mean]]
        axis.errorbar(cost, mean, range_, fmt="o", capsize=3, color=colours[entry.label])
        axis.annotate(entry.label, (cost, mean), xytext=(4, 4), textcoords="offset points", fontsize=7)
    axis.set(xlabel="time / stock, mean of the runtimes", ylabel="Dice, unseen cases (bars: seeds)", xscale="log")
