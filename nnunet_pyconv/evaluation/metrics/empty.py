"""The one rule for empty masks, which every score of a class follows.

- Neither truth nor prediction has the class: NaN, as in nnU-Net's `summary.json`. The image says nothing about this
  class and is left out of its mean; how many images count stands in the table.
- Only one of them has it: the worst value of the score, 0 for an overlap and the image's diagonal for a distance, so
  that a network gains nothing by leaving a class out.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

Mask = NDArray[np.bool_]


def score_of_empty(truth: Mask, prediction: Mask, worst: float) -> float | None:
    """Return the score of an image in which a mask is empty.

    Args:
        truth: The class in the truth, of any shape.
        prediction: The class in the prediction, of the same shape.
        worst: The score's worst value.

    Returns:
        NaN if both are empty, `worst` if one is, None if none is: then the score has to be computed.
    """
    if truth.any() and prediction.any():
        return None
    return worst if truth.any() or prediction.any() else math.nan
