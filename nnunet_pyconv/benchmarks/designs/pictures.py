"""The picture of the comparison: learning curves over iterations and over time, and Dice against cost."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from io import BytesIO
from itertools import cycle
from pathlib import Path

import numpy as np
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from PIL import Image

from nnunet_pyconv.benchmarks.designs.costs import RUNTIMES, DesignCost
from nnunet_pyconv.benchmarks.designs.data import COMPARED_DATASETS
from nnunet_pyconv.benchmarks.designs.entry import Entry


@dataclass(frozen=True)
class Style:
    """How a design looks in all axes.

    Attributes:
        color: Of its curve and its points.
        marker: Of its points.
    """

    color: tuple[float, float, float, float]
    marker: str


def draw(groups: Sequence[Sequence[Entry]], costs: Mapping[str, DesignCost], file: Path) -> None:
    """Draw a row of axes, with a legend, for each data set and number of iterations.

    Args:
        groups: The entries of each data set and number of iterations.
        costs: Of the designs in 2D; without any, and in 3D, the curves over the iterations are drawn alone.
        file: The PNG.
    """
    columns = 3 if costs else 1
    heights = [max(3.2, 0.6 + 0.155 * len(group)) for group in groups]  # enough for the legends
    figure = Figure(figsize=(4.2 * columns + 2.5, sum(heights)), layout="constrained")
    axes = figure.subplots(len(groups), columns, squeeze=False, height_ratios=heights)
    # the designs of most data sets first, whose colours differ
    in_groups = Counter(entry.label for group in groups for entry in group)
    labels = sorted(in_groups, key=lambda label: (-in_groups[label], label))
    colours = [colormaps["tab10"](number) for number in range(10)]
    looks = zip(cycle(colours), cycle("osD^vP*"), strict=False)  # 70 of them
    styles = {label: Style(*look) for label, look in zip(labels, looks, strict=False)}
    for row, group in zip(axes, groups, strict=True):
        known = costs if COMPARED_DATASETS[group[0].dataset].configuration == "2d" else {}
        _draw_curves(row[0], group, styles)
        row[0].set_title(f"{group[0].dataset}, {group[0].iterations} iterations")
        if known:
            _draw_curves(row[1], group, styles, known)
            _draw_frontier(row[2], group, styles, known)
        elif costs:
            row[1].set_axis_off()
            row[2].set_axis_off()
        handles, names = row[0].get_legend_handles_labels()
        row[-1].legend(handles, names, fontsize=7, loc="upper left", bbox_to_anchor=(1.02, 1), borderaxespad=0)
    picture = BytesIO()
    figure.savefig(picture, dpi=80, format="png")
    # a quarter of the size with few colours
    Image.open(picture).convert("RGB").quantize(128).save(file, format="png", optimize=True)


def _draw_curves(
    axis: Axes, group: Sequence[Entry], styles: Mapping[str, Style], costs: Mapping[str, DesignCost] | None = None
) -> None:
    """Draw the pseudo Dice over the iterations, or with costs over the time: in training steps of the stock network."""
    for entry in group:
        if costs is not None and entry.design not in costs:
            continue
        epochs = np.arange(1, entry.pseudo_dice.shape[1] + 1)
        x = epochs * entry.iterations / len(epochs) * (1 if costs is None else costs[entry.design].step)
        style = styles[entry.label]
        axis.plot(
            x,
            entry.pseudo_dice.mean(axis=0),
            color=style.color,
            marker=style.marker,
            markersize=3,
            markevery=0.1,  # of the axes' diagonal
            label=entry.label,
        )
    axis.set(
        xlabel="iteration" if costs is None else "time, in training steps of stock", ylabel="Dice, validation patches"
    )


def _draw_frontier(
    axis: Axes, group: Sequence[Entry], styles: Mapping[str, Style], costs: Mapping[str, DesignCost]
) -> None:
    """Draw each design's Dice, with the range of its seeds, over its time: the mean of the runtimes."""
    for entry in group:
        if entry.design not in costs:
            continue
        cost = float(np.mean([costs[entry.design].times[runtime] for runtime in RUNTIMES]))
        of_seeds = entry.dice.mean(axis=1)
        mean = of_seeds.mean()
        range_ = [[mean - of_seeds.min()], [of_seeds.max() - mean]]
        style = styles[entry.label]
        axis.errorbar(cost, mean, range_, fmt=style.marker, capsize=3, color=style.color)
    axis.set(xlabel="inference / stock, mean of the runtimes", ylabel="Dice, unseen cases (bars: seeds)", xscale="log")
