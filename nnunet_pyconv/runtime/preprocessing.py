"""nnU-Net's preprocessing (preprocessors/default_preprocessor.py): transpose, crop, normalise, resample."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from nnunet_pyconv.runtime.description import Description
from nnunet_pyconv.runtime.errors import InputError
from nnunet_pyconv.runtime.normalization import normalize
from nnunet_pyconv.runtime.resampling import new_shape, resample

OUTSIDE = -1
"""In the previous stage's labels: background outside of the nonzero region."""


@dataclass(frozen=True)
class PreprocessedGeometry:
    """How to lead a prediction back to the image; all transposed.

    Attributes:
        spacing: Of the image in mm.
        shape_before_cropping: Of the image.
        crop: The part that was taken.
        shape_after_cropping: Of that part.
        target_spacing: The spacing that the network sees.
    """

    spacing: tuple[float, ...]
    shape_before_cropping: tuple[int, ...]
    crop: tuple[slice, ...]
    shape_after_cropping: tuple[int, ...]
    target_spacing: tuple[float, ...]


def preprocess(
    image: NDArray[Any], spacing: Sequence[float], description: Description, previous: NDArray[Any] | None = None
) -> tuple[NDArray[np.float32], PreprocessedGeometry]:
    """Prepare an image for the network.

    Args:
        image: `(C, Z, Y, X)`; it is not changed.
        spacing: (z, y, x) in mm.
        description: Of the model.
        previous: The previous stage's labels `(Z, Y, X)`, in a cascade.

    Returns:
        The network's input `(C', Z, Y, X)`, in a cascade with a further channel for each foreground label, and the way
        back.

    Raises:
        InputError: Values that the normalisation does not take, or an image thinner than half a voxel of the target.
    """
    order = description.transpose_forward
    data = image.astype(np.float32).transpose([0, *(axis + 1 for axis in order)])
    spacing = tuple(float(spacing[axis]) for axis in order)
    shape_before = data.shape[1:]
    nonzero = (data != 0).any(0)
    crop = _bounding_box(nonzero)
    cropped = (slice(None), *crop)
    data = data[cropped]
    labels, inside = None, None
    if previous is not None or any(channel.use_mask for channel in description.normalization):
        nonzero = ndimage.binary_fill_holes(nonzero)[crop]
        labels = np.zeros(nonzero.shape) if previous is None else previous.transpose(order)[crop].astype(np.float64)
        labels[(labels == 0) & ~nonzero] = OUTSIDE
        inside = labels >= 0
    for channel, how in zip(data, description.normalization, strict=True):
        normalize(channel, inside, how)
    target = description.spacing
    if len(target) == 2:  # a network of slices, whose distance is kept
        target = (spacing[0], *target)
    geometry = PreprocessedGeometry(spacing, shape_before, crop, data.shape[1:], target)
    shape = new_shape(data.shape[1:], spacing, target)
    if min(shape) < 1:
        size = ", ".join(f"{edge * step:.3g}" for edge, step in zip(data.shape[1:], spacing, strict=True))
        raise InputError(
            f"what is not 0 in the image measures {size} mm, less than half a voxel of the model's spacing "
            f"{', '.join(f'{step:.3g}' for step in target)}; expected a larger image"
        )
    data = resample(data, shape, spacing, target, description.resample_image)
    if previous is not None and labels is not None:
        (resampled,) = resample(labels[None], shape, spacing, target, description.resample_previous)
        data = np.concatenate([data, [resampled == label for label in description.foreground_labels]], dtype=np.float32)
    return data, geometry


def _bounding_box(nonzero: NDArray[np.bool_]) -> tuple[slice, ...]:
    """The smallest box that holds the nonzero region; all of an image that is 0 everywhere."""
    box = []
    for axis in range(nonzero.ndim):
        (places,) = nonzero.any(tuple(i for i in range(nonzero.ndim) if i != axis)).nonzero()
        box.append(slice(int(places[0]), int(places[-1]) + 1) if len(places) else slice(0, nonzero.shape[axis]))
    return tuple(box)
