"""Metrics of one image, and statistics over images.

To add a metric, write its function and a `ClassMetric`, `ImageMetric` or `SegmentMetric` in a file of its own, and add
it to `METRICS`.
"""

from nnunet_pyconv.evaluation.metrics.images import Label, LabelImage, MaskPair, SegmentPair
from nnunet_pyconv.evaluation.metrics.metric import EMPTY_CASES, ClassMetric, ImageMetric, Metric, SegmentMetric
from nnunet_pyconv.evaluation.metrics.neurites import THRESHOLDS, V_INFO, V_RAND, thinned_segments, truth_segments
from nnunet_pyconv.evaluation.metrics.overlap import DICE, IOU, MEAN_IOU, dice_bounds, iou_of_dice
from nnunet_pyconv.evaluation.metrics.statistics import Difference, Estimate, difference, estimate, holm, smallest_p
from nnunet_pyconv.evaluation.metrics.surface import HD95, NSD

METRICS: tuple[Metric, ...] = (IOU, MEAN_IOU, DICE, HD95, NSD, V_RAND, V_INFO)
"""All metrics, in the order of the report's columns."""

__all__ = [
    "DICE",
    "EMPTY_CASES",
    "HD95",
    "IOU",
    "MEAN_IOU",
    "METRICS",
    "NSD",
    "THRESHOLDS",
    "V_INFO",
    "V_RAND",
    "ClassMetric",
    "Difference",
    "Estimate",
    "ImageMetric",
    "Label",
    "LabelImage",
    "MaskPair",
    "Metric",
    "SegmentMetric",
    "SegmentPair",
    "dice_bounds",
    "difference",
    "estimate",
    "holm",
    "iou_of_dice",
    "smallest_p",
    "thinned_segments",
    "truth_segments",
]
