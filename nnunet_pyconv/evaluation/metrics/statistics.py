"""Mean with an interval, and paired tests, over images."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike
from scipy import stats

RESAMPLES = 9999
_BATCH_VALUES = 1_000_000  # drawn at a time, so that memory doesn't grow with the number of images


@dataclass(frozen=True)
class Estimate:
    """A mean over images.

    Attributes:
        mean: Over the images that have a value; NaN if none has.
        low: Lower end of the bootstrap 95 % interval; NaN with fewer than two images.
        high: Upper end.
        images: How many images have a value.
    """

    mean: float
    low: float
    high: float
    images: int


@dataclass(frozen=True)
class Difference:
    """A model against the baseline, on the same images.

    Attributes:
        mean: Mean over images of model minus baseline; NaN if no image has both.
        p: Two-sided Wilcoxon signed-rank test of the differences; 1 if all are zero, NaN if there are none.
        images: How many images have both values.
    """

    mean: float
    p: float
    images: int


def estimate(values: ArrayLike) -> Estimate:
    """Mean over images and its percentile bootstrap 95 % interval (scipy.stats.bootstrap, fixed seed).

    Args:
        values: One value an image; NaN where it has none.
    """
    array = np.asarray(values, float)
    array = array[~np.isnan(array)]
    if array.size < 2:
        return Estimate(float(array[0]) if array.size else math.nan, math.nan, math.nan, array.size)
    # The percentile method, since it holds where all images have the same value, which BCa does not.
    interval = stats.bootstrap(
        (array,),
        np.mean,
        n_resamples=RESAMPLES,
        batch=max(1, _BATCH_VALUES // array.size),
        method="percentile",
        random_state=np.random.default_rng(0),
    ).confidence_interval
    return Estimate(float(array.mean()), float(interval.low), float(interval.high), array.size)


def difference(values: ArrayLike, baseline: ArrayLike) -> Difference:
    """Compare a model with the baseline (scipy.stats.wilcoxon, exact where few images differ).

    Images on which both are equal have no part in the test, as Wilcoxon (1945) has it.

    Args:
        values: The model's, one an image; NaN where it has none.
        baseline: The baseline's, for the same images in the same order.
    """
    differences = np.asarray(values, float) - np.asarray(baseline, float)
    differences = differences[~np.isnan(differences)]
    if differences.size == 0:
        return Difference(math.nan, math.nan, 0)
    others = differences[differences != 0]  # scipy takes its approximation where one is 0, however few are not
    p = float(stats.wilcoxon(others).pvalue) if others.size else 1.0
    return Difference(float(differences.mean()), p, differences.size)


def holm(p_values: Sequence[float]) -> list[float]:
    """Adjust p-values for several comparisons (Holm 1979): the k-th smallest of m is multiplied by m - k + 1.

    Args:
        p_values: One a comparison; NaN is no comparison and stays.

    Returns:
        The adjusted values in the same order, at most 1, never falling with rising p.
    """
    rated = sorted((p, index) for index, p in enumerate(p_values) if not math.isnan(p))
    adjusted = list(p_values)
    largest = 0.0
    for rank, (p, index) in enumerate(rated):
        largest = max(largest, min(1.0, p * (len(rated) - rank)))
        adjusted[index] = largest
    return adjusted


def smallest_p(images: int) -> float:
    """The smallest two-sided p that the exact Wilcoxon test can reach with so many images: `2 / 2^n`."""
    return min(1.0, 2.0 ** (1 - images))
