"""Scores of every case of every model, from the masks themselves."""

from __future__ import annotations

import math
import multiprocessing
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from nnunet_pyconv.child_processes import end_with_parent
from nnunet_pyconv.errors import InputError
from nnunet_pyconv.evaluation.dataset import RawDataset
from nnunet_pyconv.evaluation.metrics import (
    METRICS,
    THRESHOLDS,
    ClassMetric,
    ImageMetric,
    LabelImage,
    SegmentMetric,
    SegmentPair,
    thinned_segments,
    truth_segments,
)
from nnunet_pyconv.evaluation.models import CaseFiles, Model
from nnunet_pyconv.evaluation.reading import read_probabilities, read_truth_and_prediction
from nnunet_pyconv.evaluation.score_cache import CaseScores, ScoreCache

_CASES_AT_ONCE = 8  # for a process, so that what it needs for all cases is sent to it less often


@dataclass(frozen=True)
class Neurites:
    """How V_rand and V_info find cells.

    Attributes:
        label: The label that says so.
        is_membrane: Whether it is that of membranes, so that cells are everything else.
        on_probabilities: Whether predictions are cut at the challenge's thresholds; else their labels are taken.
    """

    label: int
    is_membrane: bool
    on_probabilities: bool


@dataclass(frozen=True)
class ModelScores:
    """The scores of a model, one value a case, in the order of `model.cases`.

    Attributes:
        model: The model.
        per_class: Values `(cases,)` by class and metric key.
        per_image: Values `(cases,)` by metric key: the mean over the classes that the image has, or the image's own.
        thresholds: At which probability a metric of segments is largest, by its key; empty without probabilities.
    """

    model: Model
    per_class: dict[str, dict[str, NDArray[np.float64]]]
    per_image: dict[str, NDArray[np.float64]]
    thresholds: dict[str, float]


def score_models(
    dataset: RawDataset, models: Sequence[Model], *, tolerance: float, neurites: Neurites | None, num_processes: int
) -> list[ModelScores]:
    """Score all cases of all models; scores of unchanged files come out of a cache.

    Args:
        dataset: The dataset.
        models: What predicted.
        tolerance: Of the normalised surface Dice, in the unit of the files' spacing.
        neurites: How to find the segments of the ISBI 2012 challenge; None leaves their metrics out.
        num_processes: Cases at a time.

    Returns:
        One entry a model.

    Raises:
        InputError: A file that can't be read, another size than the truth's, or labels that the dataset doesn't have.
    """
    jobs = [files for model in models for files in model.cases]
    cache = ScoreCache.of(dataset.dataset_json, tolerance, neurites)
    score = partial(_score_case, dataset=dataset, tolerance=tolerance, neurites=neurites, cache=cache)
    with _mapping(num_processes) as map_:
        scored = iter(list(tqdm(map_(score, jobs), total=len(jobs), desc=f"scoring {dataset.name}", unit="case")))
    cache.prune()
    return [_of_model(model, [next(scored) for _ in model.cases], neurites) for model in models]


@contextmanager
def _mapping(num_processes: int) -> Iterator[Any]:
    if num_processes == 1:
        yield map
        return
    # spawned, as in nnU-Net's evaluation: torch's threads don't survive a fork
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(num_processes, mp_context=context, initializer=end_with_parent) as pool:
        try:
            yield partial(pool.map, chunksize=_CASES_AT_ONCE)
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise


def _score_case(
    files: CaseFiles, *, dataset: RawDataset, tolerance: float, neurites: Neurites | None, cache: ScoreCache
) -> CaseScores:
    key = cache.key(files)
    known = cache.get(key)
    if known is not None:
        return known
    truth, prediction, spacing = read_truth_and_prediction(dataset, files)
    image = LabelImage(truth, prediction, spacing, dataset.classes, dataset.ignore_label, tolerance)
    scores = score_image(image, [] if neurites is None else _segment_pairs(dataset, files, image, neurites))
    cache.put(key, scores)
    return scores


def score_image(image: LabelImage, segments: Sequence[SegmentPair]) -> CaseScores:
    """Compute all metrics of one image.

    Args:
        image: Its truth and prediction.
        segments: For the metrics of segments, one pair a threshold or a single one; empty leaves these metrics out.
    """
    return CaseScores(
        per_class={
            name: {
                metric.key: math.nan if image.is_partial and not metric.on_partial_truth else metric(image.pairs[name])
                for metric in METRICS
                if isinstance(metric, ClassMetric)
            }
            for name in image.classes
        },
        per_image={metric.key: metric.score(image) for metric in METRICS if isinstance(metric, ImageMetric)},
        per_threshold={
            metric.key: [metric.score(pair) for pair in segments]
            for metric in METRICS
            if isinstance(metric, SegmentMetric) and segments
        },
    )


def _segment_pairs(dataset: RawDataset, files: CaseFiles, image: LabelImage, neurites: Neurites) -> list[SegmentPair]:
    """One pair for each of the challenge's thresholds, or a single one where there are no probabilities."""
    if image.truth.ndim != 2:
        raise InputError(f"{files.truth} is a volume; V_rand and V_info are scores of the slices (Y, X) of ISBI 2012")
    truth = truth_segments((image.truth == neurites.label) != neurites.is_membrane)
    if not neurites.on_probabilities:
        cells = (image.prediction == neurites.label) != neurites.is_membrane
        return [SegmentPair(truth, thinned_segments(cells))]
    of_label = read_probabilities(dataset, files, image.truth.shape)[neurites.label]
    cell = 1 - of_label if neurites.is_membrane else of_label
    return [SegmentPair(truth, thinned_segments(cell > threshold)) for threshold in THRESHOLDS]


def _of_model(model: Model, cases: Sequence[CaseScores], neurites: Neurites | None) -> ModelScores:
    per_class = {
        name: {key: np.array([case.per_class[name][key] for case in cases]) for key in scores}
        for name, scores in cases[0].per_class.items()
    }
    per_image = {key: np.array([case.per_image[key] for case in cases]) for key in cases[0].per_image}
    for key in next(iter(per_class.values())):
        of_classes = np.stack([scores[key] for scores in per_class.values()])
        per_image[key] = np.array([_mean(of_image) for of_image in of_classes.T])
    thresholds = {}
    for key in cases[0].per_threshold:
        # As in the challenge, one threshold for all images of a model: the one with the largest mean.
        values = np.array([case.per_threshold[key] for case in cases])
        rated = values[~np.isnan(values).any(axis=1)]
        best = int(rated.mean(axis=0).argmax()) if len(rated) else 0
        per_image[key] = values[:, best]
        if neurites is not None and neurites.on_probabilities:
            thresholds[key] = THRESHOLDS[best]
    return ModelScores(model, per_class, per_image, thresholds)


def _mean(values: NDArray[np.float64]) -> float:
    """Mean over the classes that the image has, NaN if it has none."""
    present = values[~np.isnan(values)]
    return float(present.mean()) if present.size else math.nan
