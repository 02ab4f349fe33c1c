"""A picture of a few cases with their labels, to look at before anything is trained."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont
from skimage.exposure import rescale_intensity
from skimage.segmentation import find_boundaries

from nnunet_pyconv.dataset_conversion.cases import Case, CaseData
from nnunet_pyconv.dataset_conversion.reading import Colour

NUM_CASES = 6
COLUMNS = 3
PANEL_PX, TEXT_PX, GAP_PX = 400, 24, 8

# colour-blind safe (Okabe and Ito), one for each class but the background, over again where there are more
COLOURS = ((230, 159, 0), (86, 180, 233), (0, 158, 115), (240, 228, 66), (213, 94, 0), (204, 121, 167), (0, 114, 178))


def save_preview(file: Path, cases: Sequence[Case], classes: Sequence[str]) -> None:
    """Draw some cases, evenly spaced, with the outlines of their labels.

    Args:
        file: Where to, for example a PNG.
        cases: With labels, at least one. They are read again.
        classes: Names of the labels 0, 1, ...
    """
    shown = [cases[n] for n in np.unique(np.linspace(0, len(cases) - 1, NUM_CASES).round().astype(int))]
    rows = -(-len(shown) // COLUMNS)
    column_px, row_px = PANEL_PX + GAP_PX, PANEL_PX + TEXT_PX + GAP_PX
    sheet = Image.new("RGB", (COLUMNS * column_px, rows * row_px + TEXT_PX), "white")
    draw = ImageDraw.Draw(sheet)
    font = ImageFont.load_default(size=14)
    for number, case in enumerate(shown):
        panel, where = outlined(case.read())
        x, y = number % COLUMNS * column_px, number // COLUMNS * row_px
        draw.text((x + 4, y + 4), f"{case.name}{where}", "black", font)
        sheet.paste(Image.fromarray(panel), (x, y + TEXT_PX))
    left, y = 4.0, rows * row_px
    for label, name in list(enumerate(classes))[1:]:
        draw.rectangle((left, y + 4, left + 16, y + 16), fill=colour_of(label))
        draw.text((left + 22, y + 2), name, "black", font)
        left += 40 + draw.textlength(name, font)
    sheet.save(file, compress_level=1)


def outlined(data: CaseData) -> tuple[NDArray[np.uint8], str]:
    """Draw the outlines of a label onto the image, as large as a panel.

    Args:
        data: With a label. Of a volume, the slice with most foreground is shown, stretched by the spacing.

    Returns:
        `(Y, X, 3)`, and which slice it is (empty for a picture).
    """
    assert data.label is not None
    image, label, where = data.images[0], data.label, ""
    pixel_y = pixel_x = 1.0
    if data.geometry is not None:
        pixel_x, pixel_y = data.geometry.spacing[:2]
        if label.ndim == 3:
            z = int(np.argmax(np.count_nonzero(label, axis=(1, 2))))
            image, label, where = image[z], label[z], f", slice {z}"
    height, width = label.shape[0] * pixel_y, label.shape[1] * pixel_x
    scale = PANEL_PX / max(height, width)
    size = max(1, round(width * scale)), max(1, round(height * scale))
    grey = rescale_intensity(image, tuple(np.percentile(image, (1, 99))), np.uint8)
    picture = np.array(Image.fromarray(grey).convert("RGB").resize(size, Image.Resampling.BILINEAR))
    # labels after resizing, so that outlines stay one pixel wide
    label = np.array(Image.fromarray(label).resize(size, Image.Resampling.NEAREST))
    outlines = find_boundaries(label, mode="inner")
    for value in np.unique(label[outlines]):
        picture[outlines & (label == value)] = colour_of(int(value))
    return picture, where


def colour_of(label: int) -> Colour:
    """Return the colour of a class but the background."""
    return COLOURS[(label - 1) % len(COLOURS)]
