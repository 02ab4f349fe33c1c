"""A picture of a few cases with their labels, to look at before anything is trained."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from numpy.typing import NDArray
from skimage.segmentation import find_boundaries

from nnunet_pyconv.dataset_conversion.cases import Case, CaseData
from nnunet_pyconv.dataset_conversion.reading import Array, Label, hex_of

NUM_CASES = 6
COLUMNS = 3
SHOWN_PX = 512

# colour-blind safe (Okabe and Ito), one for each class but the background, over again where there are more
COLOURS = ((230, 159, 0), (86, 180, 233), (0, 158, 115), (240, 228, 66), (213, 94, 0), (204, 121, 167), (0, 114, 178))


def save_preview(file: Path, cases: Sequence[Case], classes: Sequence[str]) -> None:
    """Draw some cases, evenly spaced, with the outlines of their labels.

    Args:
        file: Where to, for example a PNG.
        cases: With labels, at least one. They are read again.
        classes: Names of the labels 0, 1, ...
    """
    numbers = np.unique(np.linspace(0, len(cases) - 1, NUM_CASES).round().astype(int))
    rows = -(-len(numbers) // COLUMNS)
    figure = Figure(figsize=(4 * COLUMNS, 4.2 * rows + 0.5), layout="constrained")
    axes = figure.subplots(rows, COLUMNS, squeeze=False)
    for axis in axes.flat:
        axis.set_axis_off()
    for axis, number in zip(axes.flat, numbers, strict=False):
        picture, where = outlined(cases[number].read())
        axis.imshow(picture, interpolation="nearest")
        axis.set_title(f"{cases[number].name}{where}", fontsize=9, parse_math=False)  # a name may hold dollars
    figure.legend(
        ncols=6,
        handles=[
            Line2D([], [], color=hex_of(colour_of(label)), linewidth=3, label=f"{label} {name}")
            for label, name in list(enumerate(classes))[1:]
        ],
        loc="outside lower center",
    )
    figure.savefig(file, dpi=100)


def outlined(data: CaseData) -> tuple[NDArray[np.uint8], str]:
    """Draw the outlines of a label onto the image.

    Args:
        data: With a label. Of a volume, the slice with most foreground is shown.

    Returns:
        `(Y, X, 3)`, and which slice it is (empty for a picture).
    """
    assert data.label is not None
    image, label, where = data.images[0], data.label, ""
    if data.geometry is not None and label.ndim == 3:
        z = int(np.argmax(np.count_nonzero(label, axis=(1, 2))))
        image, label, where = image[z], label[z], f", slice {z}"
    step = max(1, max(label.shape) // SHOWN_PX)  # outlines of large images would be too thin to see
    image, label = image[::step, ::step], label[::step, ::step]
    picture = _stretched(image)
    if picture.ndim == 2:
        picture = np.repeat(picture[..., None], 3, axis=-1)
    _draw(picture, label)
    return picture, where


def colour_of(label: int) -> tuple[int, int, int]:
    """Return the colour of a class but the background."""
    return COLOURS[(label - 1) % len(COLOURS)]


def _draw(picture: NDArray[np.uint8], label: Label) -> None:
    outlines = find_boundaries(label, mode="inner")
    for value in np.unique(label[outlines]):
        picture[outlines & (label == value)] = colour_of(int(value))


def _stretched(image: Array) -> NDArray[np.uint8]:
    """Stretch an image from its 1st to its 99th percentile over 0 to 255."""
    low, high = np.percentile(image, (1, 99))
    stretched: NDArray[np.uint8] = np.clip((image - low) / max(high - low, 1e-6) * 255, 0, 255).astype(np.uint8)
    return stretched
