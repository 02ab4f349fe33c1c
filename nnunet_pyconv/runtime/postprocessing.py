"""nnU-Net's post-processing: of some labels, only the largest component stays."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage


def keep_largest(labels: NDArray[Any], steps: Sequence[Sequence[int]]) -> NDArray[Any]:
    """Keep the largest connected component of some labels and make the rest of them background.

    Args:
        labels: `(Z, Y, X)`; not changed.
        steps: One after the other, the labels whose union is looked at. Voxels that touch at a corner are connected,
            and of components of equal size all stay (postprocessing/remove_connected_components.py).

    Returns:
        The labels that are left.
    """
    result = labels.copy()
    for step in steps:
        mask = np.isin(result, list(step))
        components, count = ndimage.label(mask, np.ones((3,) * labels.ndim))
        if count > 1:
            sizes = np.bincount(components.ravel())[1:]
            result[mask & ~np.isin(components, np.flatnonzero(sizes == sizes.max()) + 1)] = 0
    return result
