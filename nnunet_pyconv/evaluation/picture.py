"""Panels of images and the errors of predictions."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray
from skimage.exposure import rescale_intensity

# colour-blind safe (Okabe and Ito)
FALSE_POSITIVE = (213, 94, 0)
FALSE_NEGATIVE = (0, 114, 178)
OTHER_CLASS = (204, 121, 167)


def save_panels(
    files: Sequence[Path], columns: Sequence[str], rows: Sequence[Sequence[tuple[NDArray[Any], str]]], title: str
) -> None:
    """Draw rows of pictures.

    Args:
        files: Where to, for example a PNG and an SVG.
        columns: Title of each column.
        rows: Pictures `(Y, X)` or `(Y, X, 3)`, each with a text to write into it, empty for none.
        title: A heading above all.
    """
    figure = Figure(figsize=(3 * len(columns), 3.2 * len(rows)), layout="constrained")
    axes = figure.subplots(len(rows), len(columns), squeeze=False)
    for axis, column in zip(axes[0], columns, strict=True):
        axis.set_title(printable(column), fontsize=9, parse_math=False)  # a name may hold dollars
    panels = [panel for row in rows for panel in row]
    for axis, (picture, text) in zip(axes.flat, panels, strict=True):
        axis.imshow(picture, cmap="gray", interpolation="nearest")
        axis.set_axis_off()
        if text:
            axis.text(
                0.02, 0.02, printable(text), transform=axis.transAxes, fontsize=8, color="white", va="bottom",
                parse_math=False,
                bbox={"facecolor": "black", "alpha": 0.6, "linewidth": 0},
            )  # fmt: skip
    figure.suptitle(title, fontsize=11)
    for file in files:
        figure.savefig(file, dpi=100)


def printable(text: str) -> str:
    """Return text that can be encoded: a name of a file or class may hold halves of characters (lone surrogates)."""
    return text.encode("utf-8", "replace").decode("utf-8")


def grey(image: NDArray[Any]) -> NDArray[np.uint8]:
    """Stretch an image `(Y, X)` from its 1st to its 99th percentile over 0 to 255."""
    stretched: NDArray[np.uint8] = rescale_intensity(image, tuple(np.percentile(image, (1, 99))), np.uint8)
    return stretched


def error_colours(truth: NDArray[Any], prediction: NDArray[Any]) -> NDArray[np.uint8]:
    """Colour the errors of a prediction.

    Args:
        truth: Labels `(Y, X)`, 0 is background.
        prediction: Labels `(Y, X)`.

    Returns:
        `(Y, X, 4)`: orange where the prediction has too much, blue where it misses something, purple where it has
        another class, transparent elsewhere.
    """
    colours = np.zeros((*truth.shape, 4), np.uint8)
    wrong = truth != prediction
    colours[wrong] = (*OTHER_CLASS, 255)
    colours[wrong & (truth == 0)] = (*FALSE_POSITIVE, 255)
    colours[wrong & (prediction == 0)] = (*FALSE_NEGATIVE, 255)
    return colours


def with_errors(image: NDArray[np.uint8], truth: NDArray[Any], prediction: NDArray[Any]) -> NDArray[np.uint8]:
    """Draw the errors of a prediction onto an image `(Y, X)` of 0 to 255; returns `(Y, X, 3)`."""
    picture = np.repeat(image[..., None], 3, axis=-1)
    colours = error_colours(truth, prediction)
    drawn = colours[..., 3] > 0
    picture[drawn] = colours[drawn, :3]
    return picture
