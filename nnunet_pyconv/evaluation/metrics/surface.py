"""Distances between the surfaces of two masks, by MONAI."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch

from nnunet_pyconv.evaluation.metrics.images import Mask, MaskPair
from nnunet_pyconv.evaluation.metrics.metric import ClassMetric, diagonal, zero


def _hausdorff_95(pair: MaskPair) -> float:
    with _monai():
        from monai.metrics.hausdorff_distance import compute_hausdorff_distance

        distance = compute_hausdorff_distance(
            _tensor(pair.prediction),
            _tensor(pair.truth),
            include_background=True,
            percentile=95,
            spacing=list(pair.spacing),
        )
    return float(distance)


def _normalised_surface_dice(pair: MaskPair) -> float:
    """Nikolov et al. 2018, arXiv:1809.04430; surface elements count by length or area, as in DeepMind's code."""
    with _monai():
        from monai.metrics.surface_dice import compute_surface_dice

        score = compute_surface_dice(
            _tensor(pair.prediction),
            _tensor(pair.truth),
            class_thresholds=[pair.tolerance],
            include_background=True,
            spacing=list(pair.spacing),
            use_subvoxels=True,
        )
    return float(score)


def _tensor(mask: Mask) -> torch.Tensor:
    return torch.from_numpy(np.ascontiguousarray(mask))[None, None]


@contextmanager
def _monai() -> Iterator[None]:
    """What MONAI is called in.

    It warns about its own deprecated arguments, at its import and within its functions. Two things slow it down: its
    convolution with a kernel of 2 x 2, for which oneDNN takes several times as long as PyTorch itself, and the metadata
    that its own tensors carry.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from monai.data.meta_obj import get_track_meta, set_track_meta

        with torch.backends.mkldnn.flags(enabled=False):
            before = get_track_meta()
            set_track_meta(False)
            try:
                yield
            finally:
                set_track_meta(before)


HD95 = ClassMetric(
    "hd95",
    "HD95 / {unit}",
    "95th percentile of the distances of every boundary pixel of one mask to the nearest of the other, the larger of "
    "the two directions, in {unit_name}.",
    larger_is_better=False,
    decimals=2,
    score=_hausdorff_95,
    worst=diagonal,
    on_partial_truth=False,
)
NSD = ClassMetric(
    "nsd",
    "NSD @ {tolerance:g} {unit}",
    "Normalised surface Dice: the share of both boundaries within {tolerance:g} {unit} of the other.",
    score=_normalised_surface_dice,
    worst=zero,
    on_partial_truth=False,
)
