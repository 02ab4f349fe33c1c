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

from typing import Any

import numpy as np
from numpy.typing import NDArray
from skimage.measure import label
from skimage.metrics import contingency_table
from skimage.segmentation import watershed

from nnunet_pyconv.evaluation.metrics.empty import Mask

Segments = NDArray[np.integer[Any]]

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


def rand_and_information(truth: Segments, prediction: Segments) -> tuple[float, float]:
    """Foreground-restricted V_rand and V_info of one image.

    With `p_ij` the share of pixels in segment i of the truth and j of the prediction, `t_i` and `s_j` their sums:
    `V_rand = 2 Σ p_ij² / (Σ t_i² + Σ s_j²)` and `V_info = 2 I(T; S) / (H(T) + H(S))`.

    Args:
        truth: `(Y, X)`, pixels of 0 don't count.
        prediction: `(Y, X)`, each pixel of 0 is a segment of its own.

    Returns:
        Both scores, 0 to 1, larger is better; NaN if the truth has no cell, 1 if both have one and the same segment.
    """
    table = contingency_table(truth, prediction, ignore_labels=[0], normalize=False).tocoo()
    n = table.sum()
    if n == 0:
        return float("nan"), float("nan")
    on_lines = table.col == 0
    singles = np.full(int(table.data[on_lines].sum()), 1 / n)
    joint = np.concatenate([table.data[~on_lines] / n, singles])
    t = np.bincount(table.row, table.data) / n
    s = np.concatenate([np.bincount(table.col[~on_lines], table.data[~on_lines]) / n, singles])

    rand = 2 * np.sum(joint**2) / (np.sum(t**2) + np.sum(s**2))
    entropies = _entropy(t) + _entropy(s)
    information = 2 * (entropies - _entropy(joint)) / entropies if entropies > 0 else 1.0
    return float(rand), float(information)


def _entropy(shares: NDArray[np.float64]) -> float:
    shares = shares[shares > 0]
    return float(-np.sum(shares * np.log(shares)))
