"""Scores of one image against values derived by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import ndimage

from nnunet_pyconv.evaluation.metrics import (
    DICE,
    HD95,
    IOU,
    MEAN_IOU,
    METRICS,
    NSD,
    V_INFO,
    V_RAND,
    ClassMetric,
    LabelImage,
    MaskPair,
    SegmentPair,
    dice_bounds,
    iou_of_dice,
    thinned_segments,
    truth_segments,
)


def pair(
    truth: np.ndarray, prediction: np.ndarray, spacing: tuple[float, ...] = (1, 1), tolerance: float = 1
) -> MaskPair:
    return MaskPair(truth, prediction, spacing, tolerance)


def rand_and_information(truth: np.ndarray, prediction: np.ndarray) -> tuple[float, float]:
    segments = SegmentPair(truth, prediction)
    return V_RAND.score(segments), V_INFO.score(segments)


def mask(*rows: str) -> np.ndarray:
    return np.array([[character == "#" for character in row] for row in rows])


EMPTY, DOT = mask("....", "....", "...."), mask("....", ".#..", "....")


@pytest.mark.parametrize(
    ("truth", "prediction", "dice", "iou", "hd95", "nsd"),
    [
        (EMPTY, EMPTY, math.nan, math.nan, math.nan, math.nan),
        (EMPTY, DOT, 0, 0, 10, 0),  # 3 x 4 pixels of 2 x 2: the diagonal is hypot(6, 8)
        (DOT, EMPTY, 0, 0, 10, 0),
        (DOT, DOT, 1, 1, 0, 1),
    ],
    ids=["both empty", "false alarm", "missed", "same"],
)
def test_rule_of_empty_masks(
    truth: np.ndarray, prediction: np.ndarray, dice: float, iou: float, hd95: float, nsd: float
) -> None:
    masks = pair(truth, prediction, (2, 2))
    for metric, expected in ((DICE, dice), (IOU, iou), (HD95, hd95), (NSD, nsd)):
        assert metric(masks) == pytest.approx(expected, nan_ok=True)


def test_keys_of_metrics_are_their_own() -> None:
    assert len({metric.key for metric in METRICS}) == len(METRICS)


def test_overlap_by_hand() -> None:
    truth, prediction = mask("###."), mask(".###")  # TP 2, FP 1, FN 1
    assert (DICE(pair(truth, prediction)), IOU(pair(truth, prediction))) == (pytest.approx(4 / 6), pytest.approx(2 / 4))
    assert iou_of_dice(4 / 6) == pytest.approx(2 / 4)


def test_bounds_of_mean_dice() -> None:
    assert dice_bounds(0.5) == (0.5, pytest.approx(2 / 3))
    ious = np.random.default_rng(0).uniform(size=(100, 5))
    for row in ious:
        low, high = dice_bounds(row.mean())
        assert low <= np.mean(2 * row / (1 + row)) <= high


@pytest.mark.parametrize(
    ("spacing", "expected"), [((1, 1), 3), ((1, 2), 6), ((5, 1), 3)], ids=["unit", "wide pixels", "high pixels"]
)
def test_distance_of_two_columns(spacing: tuple[float, float], expected: float) -> None:
    """Two columns of pixels, three apart: every boundary pixel is three pixels from the other column."""
    truth, prediction = np.zeros((9, 9), bool), np.zeros((9, 9), bool)
    truth[:, 2], prediction[:, 5] = True, True
    assert HD95(pair(truth, prediction, spacing)) == pytest.approx(expected)


def test_distance_leaves_out_the_farthest_twentieth() -> None:
    """One of 100 boundary pixels is far away: the maximum would see it, the 95th percentile does not."""
    truth = np.zeros((100, 30), bool)
    truth[:, 2] = True
    prediction = truth.copy()
    prediction[50, 25] = True
    assert HD95(pair(truth, prediction)) == 0


def test_distance_in_a_volume() -> None:
    truth, prediction = np.zeros((4, 5, 6), bool), np.zeros((4, 5, 6), bool)
    truth[0], prediction[2] = True, True
    assert HD95(pair(truth, prediction, (3, 1, 1))) == pytest.approx(6)


@pytest.mark.parametrize(("tolerance", "moved_side_counts"), [(0.5, False), (1, True)], ids=["below", "at"])
def test_surface_dice_of_a_longer_rectangle(tolerance: float, moved_side_counts: bool) -> None:
    """A rectangle of 6 x 8 pixels, and the same with one column more on the right.

    Surface elements sit on the corners between pixels: h x w pixels have w - 1 elements of length 1 on top and on
    bottom, h - 1 left and right, and four corners of length sqrt(1/2). Only the right sides differ, by 1: 5 elements of
    each, and the two corners of the longer one; the corners of the shorter one lie on the longer one's top and bottom.
    """
    truth, prediction = np.zeros((12, 16), bool), np.zeros((12, 16), bool)
    truth[3:9, 3:11], prediction[3:9, 3:12] = True, True
    corner = math.sqrt(0.5)
    total_truth, total_prediction = 2 * 7 + 2 * 5 + 4 * corner, 2 * 8 + 2 * 5 + 4 * corner
    within = total_truth - 5 + total_prediction - 5 - 2 * corner
    expected = 1.0 if moved_side_counts else within / (total_truth + total_prediction)
    assert NSD(pair(truth, prediction, tolerance=tolerance)) == pytest.approx(expected, abs=1e-6)


def test_border_thinning_leaves_a_line_of_one_pixel() -> None:
    cells = mask("##...##", "##...##", "##...##")
    segments = thinned_segments(cells)
    assert (segments == np.array([1, 1, 1, 0, 2, 2, 2])).all()


def test_no_cell_is_one_segment() -> None:
    assert (thinned_segments(np.zeros((3, 4), bool)) == 1).all()


@pytest.mark.parametrize("width", [1, 3, 5], ids="membrane of {} pixels".format)
def test_width_of_membranes_has_no_effect(width: int) -> None:
    truth = np.ones((8, 21), bool)
    truth[:, 10] = False
    prediction = np.ones((8, 21), bool)
    prediction[:, 10 - width // 2 : 11 + width // 2] = False
    assert rand_and_information(truth_segments(truth), thinned_segments(prediction)) == pytest.approx((1, 1))


def test_merged_cells() -> None:
    """Two cells of 4 pixels each, predicted as one: t = (1/2, 1/2), s = (1), p = (1/2, 1/2); I(T; S) = 0."""
    truth = truth_segments(mask("##.##", "##.##"))
    rand, information = rand_and_information(truth, np.ones((2, 5), int))
    assert rand == pytest.approx(2 * (1 / 4 + 1 / 4) / ((1 / 4 + 1 / 4) + 1))
    assert information == pytest.approx(0)


def test_split_cell() -> None:
    """One cell of 9 pixels, split in 4 and 4 by a line of 1 pixel, which is a segment of its own.

    t = (1), s = p = (4/9, 4/9, 1/9): V_rand = 2 Σp² / (1 + Σp²), and I(T; S) = 0.
    """
    truth = np.ones((1, 9), int)
    prediction = np.array([[1, 1, 1, 1, 0, 2, 2, 2, 2]])
    squares = (16 + 16 + 1) / 81
    assert rand_and_information(truth, prediction) == pytest.approx((2 * squares / (1 + squares), 0))


def test_partly_moved_border() -> None:
    """Two cells of 4, the border between the predicted ones one pixel too far right.

    p = (1/2, 1/8, 3/8), t = (1/2, 1/2), s = (5/8, 3/8), in eighths (4, 1, 3), (4, 4), (5, 3).
    """
    truth = np.array([[1, 1, 1, 1, 2, 2, 2, 2]])
    prediction = np.array([[1, 1, 1, 1, 1, 2, 2, 2]])
    rand, information = rand_and_information(truth, prediction)
    assert rand == pytest.approx(2 * (16 + 1 + 9) / (16 + 16 + 25 + 9))

    def entropy(*shares: float) -> float:
        return -sum(share * math.log(share) for share in shares)

    h_t, h_s, h_joint = entropy(1 / 2, 1 / 2), entropy(5 / 8, 3 / 8), entropy(1 / 2, 1 / 8, 3 / 8)
    assert information == pytest.approx(2 * (h_t + h_s - h_joint) / (h_t + h_s))


def test_border_of_the_truth_does_not_count() -> None:
    truth = np.array([[1, 1, 0, 2, 2]])
    assert rand_and_information(truth, np.array([[1, 1, 7, 2, 2]])) == pytest.approx((1, 1))


def test_each_pixel_of_the_predicted_line_is_a_segment() -> None:
    """Three pixels of line inside one true cell of 4: s = p = (1/4, 1/4, 1/4, 1/4), Σp² = 1/4."""
    rand, _ = rand_and_information(np.ones((1, 4), int), np.array([[0, 0, 0, 1]]))
    assert rand == pytest.approx(2 * (1 / 4) / (1 + 1 / 4))


def test_truth_without_cells_is_not_rated() -> None:
    assert all(map(math.isnan, rand_and_information(np.zeros((2, 2), int), np.ones((2, 2), int))))


@pytest.mark.parametrize("metric", [HD95, NSD], ids=lambda metric: metric.key)
def test_surfaces_of_arrays_with_negative_strides(metric: ClassMetric) -> None:
    truth, prediction = mask("####....", "####....", "####...."), mask("..####..", "..####..", "..####..")
    assert metric(pair(truth[:, ::-1], prediction[::-1])) == metric(pair(truth[:, ::-1].copy(), prediction))


def test_information_is_never_below_zero() -> None:
    """Independent segments share no information; rounding alone would give -2e-16."""
    rows, columns = np.indices((7, 11))
    information = V_INFO.score(SegmentPair(rows + 1, columns + 1))
    assert information == pytest.approx(0, abs=1e-12)
    assert information >= 0


# Against a second, independent implementation.


def independent_surface(mask_: np.ndarray) -> np.ndarray:
    """Pixels of a mask that have a neighbour outside, beyond the image's edge included."""
    padded = np.pad(mask_, 1)
    inside = np.ones_like(mask_)
    for axis in range(mask_.ndim):
        for shift in (-1, 1):
            inside &= np.roll(padded, shift, axis)[(slice(1, -1),) * mask_.ndim]
    return mask_ & ~inside


@pytest.mark.parametrize("shape", [(40, 30), (12, 20, 16)], ids=["slice", "volume"])
@pytest.mark.parametrize("seed", range(3))
def test_hd95_against_scipys_distance_transform(shape: tuple[int, ...], seed: int) -> None:
    truth, prediction = blobs(shape, seed)
    spacing = (3.0, 0.5, 1.25)[-len(shape) :]
    surfaces = [independent_surface(truth), independent_surface(prediction)]
    distances = [ndimage.distance_transform_edt(~surface, sampling=spacing) for surface in surfaces]
    expected = max(np.percentile(distances[0][surfaces[1]], 95), np.percentile(distances[1][surfaces[0]], 95))
    assert HD95(pair(truth, prediction, spacing)) == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("tolerance", [0.6, 2.0])
def test_nsd_against_scipys_distance_transform(tolerance: float, seed: int) -> None:
    """In 2D, from the definition: elements of the contour sit on the corners between pixels, and have its length."""
    truth, prediction = blobs((40, 30), seed)
    spacing = (2.0, 0.75)
    lengths = [contour_lengths(mask_, spacing) for mask_ in (truth, prediction)]
    distances = [ndimage.distance_transform_edt(length == 0, sampling=spacing) for length in lengths]
    within = lengths[0][distances[1] <= tolerance].sum() + lengths[1][distances[0] <= tolerance].sum()
    expected = within / (lengths[0].sum() + lengths[1].sum())
    assert NSD(pair(truth, prediction, spacing, tolerance)) == pytest.approx(expected, rel=1e-5)


def contour_lengths(mask_: np.ndarray, spacing: tuple[float, float]) -> np.ndarray:
    """Length of the contour at each corner between pixels, by the pixels around it, `(Y + 1, X + 1)`."""
    high, wide = spacing
    diagonal = math.hypot(high, wide) / 2
    padded = np.pad(mask_, 1).astype(int)
    a, b, c, d = padded[:-1, :-1], padded[:-1, 1:], padded[1:, :-1], padded[1:, 1:]
    number = a + b + c + d
    lengths = np.where((number == 1) | (number == 3), diagonal, 0.0)
    lengths[(number == 2) & (a == b)] = wide  # a horizontal line
    lengths[(number == 2) & (a == c)] = high
    lengths[(number == 2) & (a == d)] = 2 * diagonal
    return lengths


def blobs(shape: tuple[int, ...], seed: int) -> tuple[np.ndarray, np.ndarray]:
    random = np.random.default_rng(seed)
    smooth = [ndimage.gaussian_filter(random.normal(size=shape), 3) for _ in range(2)]
    return smooth[0] > 0, smooth[0] + 0.4 * smooth[1] > 0


def test_mean_iou_leaves_out_what_no_mask_has() -> None:
    truth = np.array([[0, 0, 1, 1]])
    image = LabelImage(truth, np.array([[0, 1, 1, 1]]), (1, 1), {"one": 1, "two": 2}, None, 1)
    assert MEAN_IOU.score(image) == pytest.approx((1 / 2 + 2 / 3) / 2)
