"""The scores of a run: those of the report, of each unseen test case."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np

from nnunet_pyconv.benchmarks.designs.data import PreparedDataset
from nnunet_pyconv.evaluation.dataset import find_dataset
from nnunet_pyconv.evaluation.metrics import LabelImage, SegmentPair, thinned_segments, truth_segments
from nnunet_pyconv.evaluation.models import CaseFiles
from nnunet_pyconv.evaluation.reading import read_truth_and_prediction
from nnunet_pyconv.evaluation.scores import score_image

METRICS = ("dice", "iou", "mean_iou", "hd95", "nsd", "v_rand", "v_info")


def score_cases(prepared: PreparedDataset, predictions: Path) -> dict[str, list[float]]:
    """Score the predicted test cases.

    Args:
        prepared: The data set.
        predictions: The folder of the predicted labels.

    Returns:
        By each of `METRICS` one value a case, in the order of the cases' names: the mean over the foreground classes.
        V_rand and V_info, scores of cells, are NaN where there is more than one class, or a volume.
    """
    dataset = find_dataset(prepared.dataset)
    scores: dict[str, list[float]] = {metric: [] for metric in METRICS}
    for truth_file in sorted((prepared.raw / "labelsTs").glob(f"*{dataset.file_ending}")):
        case = truth_file.name.removesuffix(dataset.file_ending)
        files = CaseFiles(case, truth_file, predictions / truth_file.name, None)
        truth, prediction, spacing = read_truth_and_prediction(dataset, files)
        tolerance = prepared.compared.surface_tolerance
        image = LabelImage(truth, prediction, spacing, dataset.classes, dataset.ignore_label, tolerance)
        for metric, value in score(image).items():
            scores[metric].append(value)
    return scores


def score(image: LabelImage) -> dict[str, float]:
    """Return each of `METRICS` of an image, see `score_cases`."""
    segments = []
    if image.truth.ndim == 2 and len(image.classes) == 1:
        (label,) = image.classes.values()
        segments = [SegmentPair(truth_segments(image.truth == label), thinned_segments(image.prediction == label))]
    scores = score_image(image, segments)
    of_classes = {
        metric: float(np.mean([of_class[metric] for of_class in scores.per_class.values()]))
        for metric in METRICS
        if all(metric in of_class for of_class in scores.per_class.values())
    }
    of_segments = {key: of_thresholds[0] for key, of_thresholds in scores.per_threshold.items()}
    return {**dict.fromkeys(METRICS, math.nan), **of_classes, **scores.per_image, **of_segments}
