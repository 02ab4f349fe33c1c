"""V_rand and V_info: the scores of the ISBI 2012 challenge, foreground-restricted, after border thinning.

Arganda-Carreras et al. 2015 (doi:10.3389/fnana.2015.00142) with alpha = 1/2. They compare segments, here the single
neurites, instead of pixels: a gap of one pixel in a membrane merges two neurites and costs much. scikit-image's
`adapted_rand_error` is near to 1 - V_rand, but counts all pixels of the thinned borders as one segment; the challenge
counts each as a segment of its own. As in the challenge's own code (Trainable Weka Segmentation of Fiji):

- Segments of the truth are the 4-connected components of its cells; only their pixels count (foreground-restricted).
- Segments of a prediction are the 4-connected components of its cells, grown by a watershed until lines of one pixel
  remain between them (border thinning), so that the width of membranes has no effect.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray
from skimage.measure import label
from skimage.segmentation import watershed

from nnunet_pyconv.evaluation.metrics.images import Mask, SegmentPair, Segments
from nnunet_pyconv.evaluation.metrics.metric import SegmentMetric

THRESHOLDS = tuple(step / 10 for step in range(11))
"""Where the challenge cuts probabilities: from 0 to 1 in steps of 0.1."""


def truth_segments(cells: Mask) -> Segments:
    """Number the cells of the truth `(Y, X)`; 0 is membrane."""
    segments: Segments = label(cells, connectivity=1)
    return segments


def thinned_segments(cells: Mask) -> Segments:
    """Number the cells of a prediction and thin the borders between them.

    Args:
        cells: `(Y, X)`, true inside of cells.

    Returns:
        `(Y, X)`, 0 on the lines of one pixel between segments; a single segment if there is no cell.
    """
    markers = label(cells, connectivity=1)
    if not markers.any():
        return np.ones(cells.shape, int)
    segments: Segments = watershed(~cells, markers, connectivity=1, watershed_line=True)
    return segments


def _rand(pair: SegmentPair) -> float:
    """`2 Σ p_ij² / (Σ t_i² + Σ s_j²)`, with `p_ij` the share of segment i of the truth and j of the prediction.

    NaN if the truth has no cell.
    """
    joint, truth, prediction = pair.shares
    if joint.size == 0:
        return math.nan
    return float(2 * np.sum(joint**2) / (np.sum(truth**2) + np.sum(prediction**2)))


def _information(pair: SegmentPair) -> float:
    """V_info: `2 I(T; S) / (H(T) + H(S))`; 1 if both have one and the same segment, NaN if the truth has no cell."""
    joint, truth, prediction = pair.shares
    if joint.size == 0:
        return math.nan
    entropies = _entropy(truth) + _entropy(prediction)
    if entropies == 0:
        return 1.0
    return max(0.0, 2 * (entropies - _entropy(joint)) / entropies)  # rounding may fall short of 0


def _entropy(shares: NDArray[np.float64]) -> float:
    shares = shares[shares > 0]
    return float(-np.sum(shares * np.log(shares)))


_RULE = "after border thinning, as in the ISBI 2012 challenge. {neurites}"
V_RAND = SegmentMetric("v_rand", "V_rand", f"Foreground-restricted Rand score {_RULE}", score=_rand)
V_INFO = SegmentMetric("v_info", "V_info", f"Foreground-restricted information score {_RULE}", score=_information)
