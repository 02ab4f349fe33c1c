"""Scores of one image, and statistics over images."""

from nnunet_pyconv.evaluation.metrics.definitions import Metric, metrics
from nnunet_pyconv.evaluation.metrics.empty import score_of_empty
from nnunet_pyconv.evaluation.metrics.neurites import (
    THRESHOLDS,
    rand_and_information,
    thinned_segments,
    truth_segments,
)
from nnunet_pyconv.evaluation.metrics.overlap import dice_and_iou, dice_bounds, iou_of_dice
from nnunet_pyconv.evaluation.metrics.statistics import Difference, Estimate, difference, estimate, holm, smallest_p
from nnunet_pyconv.evaluation.metrics.surface import hausdorff_95, normalised_surface_dice

__all__ = [
    "THRESHOLDS",
    "Difference",
    "Estimate",
    "Metric",
    "dice_and_iou",
    "dice_bounds",
    "difference",
    "estimate",
    "hausdorff_95",
    "holm",
    "iou_of_dice",
    "metrics",
    "normalised_surface_dice",
    "rand_and_information",
    "score_of_empty",
    "smallest_p",
    "thinned_segments",
    "truth_segments",
]
