"""IoU and Dice, from nnU-Net's counts."""

from __future__ import annotations

import math

from nnunet_pyconv.evaluation.metrics.images import LabelImage, MaskPair
from nnunet_pyconv.evaluation.metrics.metric import ClassMetric, ImageMetric, zero


def _iou(pair: MaskPair) -> float:
    tp, fp, fn = pair.counts
    return tp / (tp + fp + fn)


def _dice(pair: MaskPair) -> float:
    tp, fp, fn = pair.counts
    return 2 * tp / (2 * tp + fp + fn)


def _mean_iou(image: LabelImage) -> float:
    """Mean over those of background and classes that the image has."""
    scores = [score for score in map(IOU, image.pairs.values()) if not math.isnan(score)]
    return sum(scores) / len(scores) if scores else math.nan


IOU = ClassMetric(
    "iou",
    "IoU",
    "Foreground IoU: TP / (TP + FP + FN). The paper's code calls it MIoU.",
    score=_iou,
    worst=zero,
)
DICE = ClassMetric("dice", "Dice", "2 TP / (2 TP + FP + FN), the paper's Equation 4.", score=_dice, worst=zero)
MEAN_IOU = ImageMetric(
    "mean_iou",
    "mean IoU",
    "Mean over all classes, background included, of the IoU: the MIoU that the paper's Equation 1 defines.",
    score=_mean_iou,
)


def iou_of_dice(dice: float) -> float:
    """IoU from Dice, both of the same counts: `Dice = 2 IoU / (1 + IoU)` solved for IoU."""
    return dice / (2 - dice)


def dice_bounds(mean_iou: float) -> tuple[float, float]:
    """Smallest and largest mean Dice that images with this mean IoU can have.

    On each image `Dice = 2 IoU / (1 + IoU)`, which is at least IoU, so the mean Dice is at least the mean IoU (reached
    where every IoU is 0 or 1). The function is concave, so by Jensen's inequality the mean Dice is at most its value at
    the mean IoU (reached where all images have the same IoU).

    Args:
        mean_iou: Mean over images of the IoU of one class, 0 to 1.

    Returns:
        The two bounds.
    """
    return mean_iou, 2 * mean_iou / (1 + mean_iou)
