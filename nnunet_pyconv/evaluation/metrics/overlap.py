"""Dice and IoU of two masks, counted by nnU-Net."""

from __future__ import annotations

from nnunetv2.evaluation.evaluate_predictions import compute_tp_fp_fn_tn

from nnunet_pyconv.evaluation.metrics.empty import Mask, score_of_empty


def dice_and_iou(truth: Mask, prediction: Mask) -> tuple[float, float]:
    """Dice (paper Eq. 4) and IoU (the term of its Eq. 1) of one class in one image.

    Args:
        truth: The class in the truth, of any shape.
        prediction: The class in the prediction, of the same shape.

    Returns:
        `2 TP / (2 TP + FP + FN)` and `TP / (TP + FP + FN)`, see `metrics.empty` for empty masks.
    """
    empty = score_of_empty(truth, prediction, worst=0.0)
    if empty is not None:
        return empty, empty
    tp, fp, fn, _ = (int(count) for count in compute_tp_fp_fn_tn(truth, prediction))
    return 2 * tp / (2 * tp + fp + fn), tp / (tp + fp + fn)


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
