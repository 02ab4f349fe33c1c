"""A picture of image, truth and prediction, case by case."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import skimage.io as io
from matplotlib.figure import Figure
from numpy.typing import NDArray

from nnunet_pyconv.evaluation.overlap import CaseOverlap, mean_overlap

# colour-blind safe (Okabe and Ito)
_FALSE_POSITIVE = (213, 94, 0)
_FALSE_NEGATIVE = (0, 114, 178)


def save_picture(
    file: Path, overlaps: Sequence[CaseOverlap], images: Path, truths: Path, predictions: Path, file_ending: str
) -> None:
    """Draw a row of image, truth and prediction for each case, with its scores and their mean.

    Args:
        file: Where to, for example a PNG.
        overlaps: The cases and their scores.
        images: Folder of `CASE_0000.ext`, images `(Y, X)`.
        truths: Folder of `CASE.ext`, masks `(Y, X)` of 0 and 1.
        predictions: Folder of `CASE.ext`, masks `(Y, X)` of 0 and 1.
        file_ending: `.png` or `.tif`.
    """
    columns = ("image", "truth", "prediction", "errors: orange too much, blue missing")
    figure = Figure(figsize=(3 * len(columns), 3.2 * len(overlaps)), layout="constrained")
    axes = figure.subplots(len(overlaps), len(columns), squeeze=False)
    for axis, title in zip(axes[0], columns, strict=True):
        axis.set_title(title, fontsize=9)
    for row, overlap in zip(axes, overlaps, strict=True):
        image = io.imread(images / f"{overlap.case}_0000{file_ending}")
        truth = io.imread(truths / f"{overlap.case}{file_ending}") > 0
        prediction = io.imread(predictions / f"{overlap.case}{file_ending}") > 0
        pictures = (image, truth, prediction, _with_errors(image, truth, prediction))
        for axis, picture in zip(row, pictures, strict=True):
            axis.imshow(picture, cmap="gray", interpolation="nearest")
            axis.set_axis_off()
        row[0].text(
            0.02, 0.02, f"{overlap.case}\nDice {overlap.dice:.3f}  IoU {overlap.iou:.3f}",
            transform=row[0].transAxes, fontsize=8, color="white", va="bottom",
            bbox={"facecolor": "black", "alpha": 0.6, "linewidth": 0},
        )  # fmt: skip
    mean = mean_overlap(overlaps)
    figure.suptitle(f"mean of {len(overlaps)} cases: Dice {mean.dice:.4f}, IoU {mean.iou:.4f}", fontsize=11)
    figure.savefig(file, dpi=100)


def _with_errors(image: NDArray[Any], truth: NDArray[np.bool_], prediction: NDArray[np.bool_]) -> NDArray[np.uint8]:
    low, high = np.percentile(image, (1, 99))
    grey = np.clip((image - low) / max(high - low, 1) * 255, 0, 255).astype(np.uint8)
    picture = np.repeat(grey[..., None], 3, axis=-1)
    picture[prediction & ~truth] = _FALSE_POSITIVE
    picture[truth & ~prediction] = _FALSE_NEGATIVE
    return picture
