"""Figures 2 and 3: loss, Dice and IoU by epoch."""

from __future__ import annotations

import io
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import matplotlib as mpl
from matplotlib.figure import Figure

from nnunet_pyconv.evaluation.picture import printable
from nnunet_pyconv.evaluation.training_log import TrainingLog

# colour-blind safe (Okabe and Ito), each legible on white and on black; the style tells the rest apart
_COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")
_STYLES = ("-", "--", "-.", ":")
_INK, _DARK_INK = "#1c1d21", "#e6e6ea"


@dataclass(frozen=True)
class Curves:
    """A figure of curves.

    Attributes:
        slug: Name of its files.
        title: Heading.
        caption: What it shows.
        svg: For a light page.
        png: The same, 150 dpi.
    """

    slug: str
    title: str
    caption: str
    svg: str
    png: bytes

    @property
    def dark_svg(self) -> str:
        """For a dark page: the same with light ink."""
        return self.svg.replace(_INK, _DARK_INK)


Logs = Mapping[str, Sequence[TrainingLog]]
"""The logs of the folds of each model, by its name."""


def loss_curves(slug: str, logs: Logs) -> Curves:
    """Figure 2: training loss by epoch."""
    caption = (
        "Training loss by epoch, one line a fold, from the logs of nnU-Net. A loss is comparable only between models "
        "with the same loss function: with deep supervision it is a weighted sum over resolutions, and a loss with a "
        "Dice term falls below 0."
    )
    return _draw(f"{slug}_figure_2", "Figure 2: training loss", caption, {"loss": lambda log: log.train_loss}, logs)


def overlap_curves(slug: str, logs: Logs) -> Curves:
    """Figure 3: Dice and IoU by epoch."""
    caption = (
        "IoU and Dice by epoch, one line a fold, mean over the foreground classes. Both come from what nnU-Net's logs "
        "hold, the pseudo Dice: counted over all pixels of the random validation patches of an epoch, so neither is a "
        "mean over images. IoU is exact from the same counts, IoU = Dice / (2 - Dice) for each class."
    )
    values = {"IoU": lambda log: log.iou, "Dice": lambda log: log.dice}
    return _draw(f"{slug}_figure_3", "Figure 3: IoU and Dice in validation", caption, values, logs)


def _draw(
    slug: str, title: str, caption: str, values: Mapping[str, Callable[[TrainingLog], Sequence[float]]], logs: Logs
) -> Curves:
    style: Any = {
        "svg.hashsalt": slug,
        "svg.fonttype": "none",
        "font.family": "sans-serif",
        "font.size": 10,
        **dict.fromkeys(("text.color", "axes.labelcolor", "axes.edgecolor", "xtick.color", "ytick.color"), _INK),
    }
    with mpl.rc_context(style):
        figure = Figure(figsize=(8.4, 3.6), layout="constrained")
        figure.patch.set_alpha(0)
        axes = figure.subplots(1, len(values), squeeze=False)[0]
        for axis, (label, of_log) in zip(axes, values.items(), strict=True):
            for index, (name, folds) in enumerate(logs.items()):
                for fold, log in enumerate(folds):
                    points = of_log(log)
                    axis.plot(
                        range(1, len(points) + 1),
                        points,
                        color=_COLOURS[index % len(_COLOURS)],
                        linestyle=_STYLES[index // len(_COLOURS) % len(_STYLES)],
                        linewidth=1.4,
                        alpha=1 if len(folds) == 1 else 0.7,
                        marker="o" if len(points) < 6 else None,
                        markersize=4,
                        label=printable(name) if fold == 0 and axis is axes[0] else None,
                    )
            axis.set_xlabel("epoch")
            axis.set_ylabel(label)
            axis.xaxis.get_major_locator().set_params(integer=True)
            axis.patch.set_alpha(0)
            axis.spines[["top", "right"]].set_visible(False)
            axis.grid(axis="y", color="#808080", alpha=0.25, linewidth=0.6)
        legend = figure.legend(loc="outside upper left", ncols=3, frameon=False, fontsize=9)
        for text in legend.get_texts():
            text.set_parse_math(False)  # a name may hold dollars
        svg, png = io.StringIO(), io.BytesIO()
        figure.savefig(svg, format="svg", metadata={"Date": None})
        figure.savefig(png, format="png", dpi=150, facecolor="white")
    return Curves(slug, title, caption, svg.getvalue(), png.getvalue())
