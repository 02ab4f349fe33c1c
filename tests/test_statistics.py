from __future__ import annotations

import math

import numpy as np
import pytest

from nnunet_pyconv.evaluation.metrics import difference, estimate, holm, smallest_p


def test_mean_and_interval() -> None:
    """The bootstrap mean of a normal sample of 400 has a standard error of 1/20: the interval is about ±1.96/20."""
    values = np.random.default_rng(1).normal(5, 1, 400)
    result = estimate(values)
    assert (result.mean, result.images) == (pytest.approx(values.mean()), 400)
    assert result.low == pytest.approx(result.mean - 1.96 / 20, abs=0.015)
    assert result.high == pytest.approx(result.mean + 1.96 / 20, abs=0.015)
    assert estimate(values) == result


def test_images_without_a_value_are_left_out() -> None:
    assert estimate([0.2, math.nan, 0.4]).mean == pytest.approx(0.3)
    assert estimate([0.2, math.nan, 0.4]).images == 2


def test_same_value_everywhere() -> None:
    result = estimate([0.5] * 4)
    assert (result.mean, result.low, result.high) == (0.5, 0.5, 0.5)


@pytest.mark.parametrize(("values", "mean", "images"), [([0.7], 0.7, 1), ([], math.nan, 0), ([math.nan], math.nan, 0)])
def test_too_few_for_an_interval(values: list[float], mean: float, images: int) -> None:
    result = estimate(values)
    assert (result.mean, result.images) == (pytest.approx(mean, nan_ok=True), images)
    assert math.isnan(result.low)
    assert math.isnan(result.high)


def test_all_better() -> None:
    """All of 6 signs agree: of the 2^6 ways to give signs, two are as extreme."""
    baseline = np.array([0.1, 0.2, 0.3, 0.4, 0.5, 0.6])
    result = difference(baseline + np.array([1, 2, 3, 4, 5, 6]) / 100, baseline)
    assert (result.mean, result.p, result.images) == (pytest.approx(0.035), pytest.approx(2 / 64), 6)
    assert smallest_p(6) == 2 / 64


def test_one_of_four_the_other_way() -> None:
    """Differences 1, -2, 3, 4: the smaller rank sum is 2, reached or undercut by 3 of the 16 sign patterns, twice."""
    assert difference([1, -2, 3, 4], [0, 0, 0, 0]).p == pytest.approx(2 * 3 / 16)


def test_ties_leave_the_exact_test() -> None:
    """5 of 25 images differ, all of them the same way: 2 of the 2^5 ways to give signs are as extreme."""
    values = np.zeros(25)
    values[:5] = [0.1, 0.2, 0.3, 0.4, 0.5]
    result = difference(values, np.zeros(25))
    assert (result.mean, result.p, result.images) == (pytest.approx(0.06), pytest.approx(2 / 32), 25)


def test_no_difference() -> None:
    assert difference([0.3, 0.4], [0.3, 0.4]).p == 1


def test_pairs_need_both_values() -> None:
    result = difference([1, math.nan, 3], [0, 1, math.nan])
    assert (result.mean, result.images) == (1, 1)
    assert math.isnan(difference([math.nan], [1]).p)


def test_holm_by_hand() -> None:
    """0.01 x 4, 0.02 x 3, 0.02 x 2 -> not below the one before, 0.3 x 1; NaN is no comparison."""
    assert holm([0.02, 0.3, math.nan, 0.01, 0.02]) == pytest.approx([0.06, 0.3, math.nan, 0.04, 0.06], nan_ok=True)
    assert holm([0.6, 0.7]) == [1.0, 1.0]
