"""The demo's picture: image, truth, prediction and errors of each test case."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import skimage.io as io

from nnunet_pyconv.demo.overlap import CaseOverlap, mean_overlap
from nnunet_pyconv.evaluation.picture import grey, save_panels, with_errors


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
    rows = []
    for overlap in overlaps:
        image = grey(io.imread(images / f"{overlap.case}_0000{file_ending}"))
        truth, prediction = (io.imread(folder / f"{overlap.case}{file_ending}") > 0 for folder in (truths, predictions))
        text = f"{overlap.case}\nDice {overlap.dice:.3f}  IoU {overlap.iou:.3f}"
        errors = with_errors(image, truth, prediction)
        rows.append([(image, text), (truth, ""), (prediction, ""), (errors, "")])
    mean = mean_overlap(overlaps)
    save_panels(
        [file],
        ("image", "truth", "prediction", "errors: orange too much, blue missing"),
        rows,
        f"mean of {len(overlaps)} cases: Dice {mean.dice:.4f}, IoU {mean.iou:.4f}",
    )
