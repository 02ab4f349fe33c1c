"""Figure 4: the best, the median and the worst case with each model's prediction."""

from __future__ import annotations

import base64
import io
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nnunet_pyconv.evaluation.comparison import Comparison
from nnunet_pyconv.evaluation.metrics import DICE
from nnunet_pyconv.evaluation.picture import error_colours, grey, save_panels, with_errors
from nnunet_pyconv.evaluation.reading import read_image, read_truth_and_prediction

MAX_SIDE_PX = 768
"""Pictures in the report are thinned to at most this many pixels a side."""

CAPTION = (
    "Image, truth, and each prediction with its errors: orange where it has too much, blue where it misses something, "
    "purple where it has another class. Best, median and worst by the Dice of an image, mean over the models."
)

# fills of the classes in truth and prediction, in turn (Okabe and Ito, without the two of the errors)
_FILLS = ((0, 158, 115), (230, 159, 0), (204, 121, 167), (240, 228, 66), (86, 180, 233))
_FILL_ALPHA = 110


@dataclass(frozen=True)
class CasePictures:
    """The pictures of a case; a volume is shown by the slice with the largest truth.

    Attributes:
        rank: `best`, `median` or `worst`.
        case: Its name, with the slice of a volume; it says so where the dataset has no image of the truth's size.
        dice: Dice of each model.
        image: `(Y, X)`, 0 to 255.
        truth: Labels `(Y, X)`, 0 where the truth has the ignore label.
        predictions: Labels `(Y, X)` of each model, likewise.
    """

    rank: str
    case: str
    dice: tuple[float, ...]
    image: NDArray[np.uint8]
    truth: NDArray[np.int64]
    predictions: tuple[NDArray[np.int64], ...]


def choose_cases(dice: NDArray[np.float64]) -> dict[str, int]:
    """Choose the best, the median and the worst case.

    Args:
        dice: `(models, cases)`; a case that no model has a value for is never chosen.

    Returns:
        Index by rank; fewer ranks where there are fewer than three cases, none where no case has a value.
    """
    means = [float(np.mean(column[~np.isnan(column)])) if (~np.isnan(column)).any() else math.nan for column in dice.T]
    order = sorted((index for index, mean in enumerate(means) if not math.isnan(mean)), key=means.__getitem__)
    if not order:
        return {}
    chosen = {"best": order[-1]}
    if len(order) > 2:
        chosen["median"] = order[(len(order) - 1) // 2]
    if len(order) > 1:
        chosen["worst"] = order[0]
    return chosen


def case_pictures(comparison: Comparison) -> list[CasePictures]:
    """Read the chosen cases of a comparison."""
    dataset = comparison.dataset
    chosen = choose_cases(np.array([scores.per_image[DICE.key] for scores in comparison.scores]))
    pictures = []
    for rank, index in chosen.items():
        files = [scores.model.cases[index] for scores in comparison.scores]
        masks = [read_truth_and_prediction(dataset, file)[:2] for file in files]
        truth, predictions, name = masks[0][0], [prediction for _, prediction in masks], files[0].case
        source = dataset.image(name, test=not comparison.scores[0].model.folds)
        image = None if source is None else read_image(dataset, source)
        if image is None or image.shape != truth.shape:
            image, name = np.zeros(truth.shape), f"{name}, without an image of this size"
        if dataset.ignore_label is not None:  # neither an error nor a class
            predictions = [np.where(truth == dataset.ignore_label, 0, prediction) for prediction in predictions]
            truth = np.where(truth == dataset.ignore_label, 0, truth)
        if truth.ndim == 3:
            z = int((truth > 0).sum(axis=(1, 2)).argmax())
            truth, image, predictions = truth[z], image[z], [prediction[z] for prediction in predictions]
            name = f"{name}, slice {z}"
        step = math.ceil(max(truth.shape) / MAX_SIDE_PX)
        thinned = np.s_[::step, ::step]
        dice = tuple(float(scores.per_image[DICE.key][index]) for scores in comparison.scores)
        shown = tuple(prediction[thinned] for prediction in predictions)
        pictures.append(CasePictures(rank, name, dice, grey(image[thinned]), truth[thinned], shown))
    return pictures


def save_figure_4(files: Sequence[Path], names: Sequence[str], cases: Sequence[CasePictures]) -> None:
    """Draw all cases and models at once."""
    rows = []
    for case in cases:
        errors = [
            (with_errors(case.image, case.truth, prediction), f"Dice {dice:.3f}")
            for prediction, dice in zip(case.predictions, case.dice, strict=True)
        ]
        rows.append([(case.image, f"{case.rank}: {case.case}"), (_on_image(case), ""), *errors])
    save_panels(files, ("image", "truth", *names), rows, "orange: too much, blue: missing, purple: another class")


def _on_image(case: CasePictures) -> NDArray[np.uint8]:
    fill = fill_colours(case.truth)
    alpha = fill[..., 3:] / 255
    blended: NDArray[np.uint8] = (case.image[..., None] * (1 - alpha) + fill[..., :3] * alpha).astype(np.uint8)
    return blended


def fill_colours(labels: NDArray[Any]) -> NDArray[np.uint8]:
    """Colour the classes of labels `(Y, X)`; returns half transparent `(Y, X, 4)`, background clear."""
    palette = np.array([(0, 0, 0, 0), *((*fill, _FILL_ALPHA) for fill in _FILLS)], np.uint8)
    indices = np.where(labels > 0, 1 + (labels - 1) % len(_FILLS), 0)
    coloured: NDArray[np.uint8] = palette[indices]
    return coloured


def png_uri(picture: NDArray[np.uint8]) -> str:
    """Encode a picture, grey or with colours and opacity, as a `data:` address of a PNG."""
    from PIL import Image

    out = io.BytesIO()
    Image.fromarray(picture).save(out, "PNG", optimize=True)
    return "data:image/png;base64," + base64.b64encode(out.getvalue()).decode()


def layers(case: CasePictures) -> dict[str, str]:
    """The pictures of a case as layers for a page: `image`, `truth`, `prediction-N`, `errors-N`."""
    uris = {"image": png_uri(case.image), "truth": png_uri(fill_colours(case.truth))}
    for index, prediction in enumerate(case.predictions):
        uris[f"prediction-{index}"] = png_uri(fill_colours(prediction))
        uris[f"errors-{index}"] = png_uri(error_colours(case.truth, prediction))
    return uris
