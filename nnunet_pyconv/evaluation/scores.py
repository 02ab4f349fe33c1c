"""Scores of every case of every system, from the masks themselves."""

from __future__ import annotations

import multiprocessing
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from nnunetv2.evaluation.evaluate_predictions import region_or_label_to_mask
from numpy.typing import NDArray
from tqdm import tqdm

from nnunet_pyconv.child_processes import end_with_parent
from nnunet_pyconv.errors import InputError
from nnunet_pyconv.evaluation.dataset import Dataset
from nnunet_pyconv.evaluation.metrics import (
    THRESHOLDS,
    dice_and_iou,
    hausdorff_95,
    normalised_surface_dice,
    rand_and_information,
    thinned_segments,
    truth_segments,
)
from nnunet_pyconv.evaluation.reading import read_probabilities, read_truth_and_prediction
from nnunet_pyconv.evaluation.systems import CaseFiles, System


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
class SystemScores:
    """The scores of a system, one value a case, in the order of `system.cases`.

    Attributes:
        system: The system.
        of_class: Values `(cases,)` by class and metric key.
        of_image: Values `(cases,)` by metric key: the mean over the classes that the image has, or the image's own.
        thresholds: At which probability V_rand and V_info are largest; empty without probabilities.
    """

    system: System
    of_class: dict[str, dict[str, NDArray[np.float64]]]
    of_image: dict[str, NDArray[np.float64]]
    thresholds: dict[str, float]


@dataclass(frozen=True)
class _CaseScores:
    of_class: dict[str, dict[str, float]]
    mean_iou: float
    neurites: list[tuple[float, float]]


def score_systems(
    dataset: Dataset, systems: Sequence[System], *, tolerance: float, neurites: Neurites | None, num_processes: int
) -> list[SystemScores]:
    """Score all cases of all systems.

    Args:
        dataset: The dataset.
        systems: What predicted.
        tolerance: Of the normalised surface Dice, in the unit of the files' spacing.
        neurites: How to compute V_rand and V_info; None leaves them out.
        num_processes: Cases at a time.

    Returns:
        One entry a system.

    Raises:
        InputError: A file that can't be read, another size than the truth's, or labels that the dataset doesn't have.
    """
    jobs = [files for system in systems for files in system.cases]
    score = partial(_score_case, dataset=dataset, tolerance=tolerance, neurites=neurites)
    with _mapping(num_processes) as map_:
        scored = iter(list(tqdm(map_(score, jobs), total=len(jobs), desc=f"scoring {dataset.name}", unit="case")))
    return [_of_system(system, [next(scored) for _ in system.cases], neurites) for system in systems]


@contextmanager
def _mapping(num_processes: int) -> Iterator[Any]:
    if num_processes == 1:
        yield map
        return
    # spawned, as in nnU-Net's evaluation: torch's threads don't survive a fork
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(num_processes, mp_context=context, initializer=end_with_parent) as pool:
        try:
            yield pool.map
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise


def _score_case(files: CaseFiles, *, dataset: Dataset, tolerance: float, neurites: Neurites | None) -> _CaseScores:
    truth, prediction, spacing = read_truth_and_prediction(dataset, files)
    ignored = np.zeros(truth.shape, bool) if dataset.ignore_label is None else truth == dataset.ignore_label
    of_class, ious = {}, []
    for name, label in {"background": 0, **dataset.classes}.items():
        t, p = (region_or_label_to_mask(labels, label) & ~ignored for labels in (truth, prediction))
        dice, iou = dice_and_iou(t, p)
        ious.append(iou)
        if name == "background":
            continue
        of_class[name] = {"dice": dice, "iou": iou, "hd95": np.nan, "nsd": np.nan}
        if not ignored.any():  # where truth ends in pixels that nobody labelled, there is no surface to measure
            of_class[name]["hd95"] = hausdorff_95(t, p, spacing)
            of_class[name]["nsd"] = normalised_surface_dice(t, p, spacing, tolerance)
    return _CaseScores(
        of_class,
        _mean(np.array(ious)),
        [] if neurites is None else _score_neurites(dataset, files, truth, prediction, neurites),
    )


def _score_neurites(
    dataset: Dataset, files: CaseFiles, truth: NDArray[Any], prediction: NDArray[Any], neurites: Neurites
) -> list[tuple[float, float]]:
    if truth.ndim != 2:
        raise InputError(f"{files.truth} is a volume; V_rand and V_info are scores of the slices (Y, X) of ISBI 2012")
    segments = truth_segments((truth == neurites.label) != neurites.is_membrane)
    if not neurites.on_probabilities:
        return [
            rand_and_information(segments, thinned_segments((prediction == neurites.label) != neurites.is_membrane))
        ]
    of_label = read_probabilities(dataset, files, truth.shape)[neurites.label]
    cell = 1 - of_label if neurites.is_membrane else of_label
    return [rand_and_information(segments, thinned_segments(cell > threshold)) for threshold in THRESHOLDS]


def _of_system(system: System, cases: Sequence[_CaseScores], neurites: Neurites | None) -> SystemScores:
    classes = cases[0].of_class
    of_class = {
        name: {key: np.array([case.of_class[name][key] for case in cases]) for key in classes[name]} for name in classes
    }
    keys = next(iter(classes.values()))
    of_image = {
        key: np.array([_mean(np.array([scores[key] for scores in case.of_class.values()])) for case in cases])
        for key in keys
    }
    of_image["mean_iou"] = np.array([case.mean_iou for case in cases])
    thresholds = {}
    if neurites is not None:
        # As in the challenge, one threshold for all images of a system: the one with the largest mean.
        by_threshold = np.array([case.neurites for case in cases])
        for column, key in enumerate(("v_rand", "v_info")):
            rated = by_threshold[~np.isnan(by_threshold[:, :, column]).any(axis=1)]
            best = int(rated[:, :, column].mean(axis=0).argmax()) if len(rated) else 0
            of_image[key] = by_threshold[:, best, column]
            if neurites.on_probabilities:
                thresholds[key] = THRESHOLDS[best]
    return SystemScores(system, of_class, of_image, thresholds)


def _mean(values: NDArray[np.float64]) -> float:
    """Mean over the classes that the image has, NaN if it has none."""
    present = values[~np.isnan(values)]
    return float(present.mean()) if present.size else float("nan")
