"""nnU-Net's resampling (preprocessing/resampling/default_resampling.py), with SciPy alone.

nnU-Net calls scikit-image's `resize` with `mode="edge"` and without anti-aliasing, which is SciPy's `zoom` on the pixel
grid, clipped to the range of the input.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from nnunet_pyconv.runtime.description import Resampling

ANISOTROPY_THRESHOLD = 3
"""From this ratio of spacings on, slices are resampled separately (configuration.py)."""

_TORCH = "resample_torch_fornnunet"
_NONE = "no_resampling_hack"


def new_shape(shape: Sequence[int], spacing: Sequence[float], target: Sequence[float]) -> tuple[int, ...]:
    """Return the shape (z, y, x) of an image of `spacing` once it has the spacing `target`."""
    return tuple(round(old / new * size) for old, new, size in zip(spacing, target, shape, strict=True))


def resample(
    data: NDArray[Any], shape: Sequence[int], spacing: Sequence[float], target: Sequence[float], how: Resampling
) -> NDArray[Any]:
    """Resample all channels.

    Args:
        data: `(C, Z, Y, X)`.
        shape: Wanted (z, y, x).
        spacing: Of `data` in mm, (z, y, x).
        target: Spacing that it has afterwards.
        how: nnU-Net's settings.

    Returns:
        `(C, *shape)` of the input's type; the input itself where it has that shape.
    """
    if how.function == _NONE or tuple(data.shape[1:]) == tuple(shape):
        return data
    result = np.empty((data.shape[0], *shape), data.dtype)
    for channel, resampled in enumerate(resampled_channels(data, shape, spacing, target, how)):
        result[channel] = resampled
    return result


def resampled_channels(
    data: NDArray[Any], shape: Sequence[int], spacing: Sequence[float], target: Sequence[float], how: Resampling
) -> Iterator[NDArray[Any]]:
    """Resample channel after channel, so that only one of them has to be held; see `resample`.

    Yields:
        `shape`, of the type of `data`.
    """
    if how.function == _NONE or tuple(data.shape[1:]) == tuple(shape):
        yield from data
        return
    axis = separate_axis(spacing, target, how.force_separate_z)
    for channel in data:
        if how.function == _TORCH:
            yield _resample_as_torch(channel, shape, axis, is_seg=how.is_seg).astype(data.dtype)
        else:
            yield _resample_by_splines(channel.astype(np.float64), shape, axis, how).astype(data.dtype)


def separate_axis(spacing: Sequence[float], target: Sequence[float], force: bool | None) -> int | None:
    """Tell which axis is resampled on its own because it is much coarser than the others; None if none is."""
    if force is False:
        return None
    for candidate in (spacing, target):
        if force or max(candidate) / min(candidate) > ANISOTROPY_THRESHOLD:
            coarse = [axis for axis, size in enumerate(candidate) if max(candidate) / size == 1]
            return coarse[0] if len(coarse) == 1 else None
    return None


def _resample_by_splines(
    volume: NDArray[np.float64], shape: Sequence[int], axis: int | None, how: Resampling
) -> NDArray[Any]:
    resize = _resize_labels if how.is_seg else _resize
    if axis is None:
        return resize(volume, shape, how.order)
    within = [size for i, size in enumerate(shape) if i != axis]
    slices = np.stack([resize(part, within, how.order) for part in np.moveaxis(volume, axis, 0)], axis)
    if slices.shape[axis] == shape[axis]:
        return slices
    scale = slices.shape[axis] / shape[axis]
    positions = scale * (np.arange(shape[axis]) + 0.5) - 0.5
    if how.order_z == 0:
        return np.take(slices, _nearest(positions, slices.shape[axis]), axis)
    if not how.is_seg:
        return _between_slices(slices, positions, axis, how.order_z)
    result = np.zeros(shape)
    for label in np.unique(slices):
        share = _between_slices((slices == label).astype(np.float64), positions, axis, how.order_z)
        result[np.round(share) > 0.5] = label
    return result


def _nearest(positions: NDArray[np.float64], size: int) -> NDArray[np.intp]:
    """The slice nearest to each position, chosen as SciPy chooses it where two are equally near."""
    return ndimage.map_coordinates(np.arange(size, dtype=np.float64), positions[None], order=0, mode="nearest").astype(
        np.intp
    )


def _between_slices(
    slices: NDArray[np.float64], positions: NDArray[np.float64], axis: int, order: int
) -> NDArray[np.float64]:
    grid = [np.arange(size, dtype=np.float64) for size in slices.shape]
    grid[axis] = positions
    coordinates = np.stack(np.meshgrid(*grid, indexing="ij"))
    return ndimage.map_coordinates(slices, coordinates, order=order, mode="nearest")


def _resize(image: NDArray[np.float64], shape: Sequence[int], order: int) -> NDArray[np.float64]:
    """Do what scikit-image's `resize` does with `mode="edge", anti_aliasing=False`."""
    factors = [1 / (old / new) for old, new in zip(image.shape, shape, strict=True)]
    resized: NDArray[np.float64] = ndimage.zoom(image, factors, order=order, mode="nearest", grid_mode=True)
    return np.clip(resized, image.min(), image.max(), out=resized)


def _resize_labels(labels: NDArray[np.float64], shape: Sequence[int], order: int) -> NDArray[np.float64]:
    """Resize each label's mask; the highest value wins, and the nearest label where several are equal.

    This is batchgenerators' `resize_segmentation` (augmentations/utils.py) from its version 0.25.3 on.
    """
    if order == 0:
        return _resize(labels, shape, 0)
    values = np.unique(labels)
    nearest = _resize(labels, shape, 0)
    winner = np.full(tuple(shape), values[0])
    best: NDArray[np.float64] | None = None
    nearest_is_best = np.zeros(tuple(shape), bool)
    for value in values:
        score = _resize((labels == value).astype(np.float64), shape, order)
        is_nearest = nearest == value
        if best is None:
            best, nearest_is_best = score, is_nearest & (score > 0)
            continue
        nearest_is_best |= (score == best) & (score > 0) & is_nearest
        better = score > best
        nearest_is_best[better] = is_nearest[better]
        winner[better] = value
        np.maximum(best, score, out=best)
    return np.where(nearest_is_best, nearest, winner)


def _resample_as_torch(volume: NDArray[Any], shape: Sequence[int], axis: int | None, *, is_seg: bool) -> NDArray[Any]:
    """nnU-Net's resample_torch.py: linear, and the nearest slice along a separate axis."""
    within = list(shape) if axis is None else [volume.shape[i] if i == axis else size for i, size in enumerate(shape)]
    resized = _linear_labels(volume, within) if is_seg else _linear(volume.astype(np.float32), within)
    if axis is not None and resized.shape[axis] != shape[axis]:
        scale = np.float32(resized.shape[axis] / shape[axis])
        nearest = np.floor((np.arange(shape[axis], dtype=np.float32) + np.float32(0.5)) * scale).astype(np.intp)
        resized = np.take(resized, np.minimum(nearest, resized.shape[axis] - 1), axis)
    return resized


def _linear(volume: NDArray[np.float32], shape: Sequence[int]) -> NDArray[np.float32]:
    """Do what torch's `interpolate` does with a linear mode and `align_corners=False`."""
    for axis, (old, new) in enumerate(zip(volume.shape, shape, strict=True)):
        if old == new:
            continue
        position = np.maximum(
            np.float32(old / new) * (np.arange(new, dtype=np.float32) + np.float32(0.5)) - np.float32(0.5), 0
        )
        below = np.minimum(position.astype(np.intp), old - 1)
        share = (position - below).reshape([-1 if i == axis else 1 for i in range(volume.ndim)])
        lower, upper = np.take(volume, below, axis), np.take(volume, np.minimum(below + 1, old - 1), axis)
        volume = lower * (1 - share) + upper * share
    return volume


def _linear_labels(labels: NDArray[Any], shape: Sequence[int]) -> NDArray[Any]:
    values = np.unique(labels)
    scores = np.stack([_linear((labels == value).astype(np.float32) * 1000, shape) for value in values])
    scores = scores.astype(np.float16)  # as there
    result = values[scores.argmax(0)]
    for value, score in zip(values, scores, strict=True):
        result[score > 700] = value
    return result
