"""Distances between the surfaces of two masks, by MONAI."""

from __future__ import annotations

import math
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import torch

from nnunet_pyconv.evaluation.metrics.empty import Mask, score_of_empty


def hausdorff_95(truth: Mask, prediction: Mask, spacing: Sequence[float]) -> float:
    """95th percentile of the Hausdorff distance.

    The distances of every boundary pixel of one mask to the nearest of the other, in both directions; the larger of the
    two 95th percentiles.

    Args:
        truth: The class in the truth, `(Y, X)` or `(Z, Y, X)`.
        prediction: The class in the prediction, of the same shape.
        spacing: Size of a pixel along each axis.

    Returns:
        The distance in the unit of `spacing`; the image's diagonal if one mask is empty, NaN if both are.
    """
    diagonal = math.hypot(*(size * step for size, step in zip(truth.shape, spacing, strict=True)))
    empty = score_of_empty(truth, prediction, worst=diagonal)
    if empty is not None:
        return empty
    with _quiet():
        from monai.metrics.hausdorff_distance import compute_hausdorff_distance

        distance = compute_hausdorff_distance(
            _tensor(prediction), _tensor(truth), include_background=True, percentile=95, spacing=list(spacing)
        )
    return float(distance)


def normalised_surface_dice(truth: Mask, prediction: Mask, spacing: Sequence[float], tolerance: float) -> float:
    """Share of both surfaces that is within a tolerance of the other (Nikolov et al. 2018, arXiv:1809.04430).

    Surface elements count by their length or area, as in DeepMind's implementation.

    Args:
        truth: The class in the truth, `(Y, X)` or `(Z, Y, X)`.
        prediction: The class in the prediction, of the same shape.
        spacing: Size of a pixel along each axis.
        tolerance: The largest distance that is no error, in the unit of `spacing`.

    Returns:
        0 to 1; 0 if one mask is empty, NaN if both are.
    """
    empty = score_of_empty(truth, prediction, worst=0.0)
    if empty is not None:
        return empty
    with _quiet():
        from monai.metrics.surface_dice import compute_surface_dice

        score = compute_surface_dice(
            _tensor(prediction),
            _tensor(truth),
            class_thresholds=[tolerance],
            include_background=True,
            spacing=list(spacing),
            use_subvoxels=True,
        )
    return float(score)


def _tensor(mask: Mask) -> torch.Tensor:
    return torch.from_numpy(mask)[None, None]


@contextmanager
def _quiet() -> Iterator[None]:
    """MONAI warns about its own deprecated arguments at its import and within its functions."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield
