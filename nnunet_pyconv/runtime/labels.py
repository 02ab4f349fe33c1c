"""From logits to labels and probabilities in the image's own geometry (inference/export_prediction.py)."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nnunet_pyconv.runtime.description import Description
from nnunet_pyconv.runtime.preprocessing import PreprocessedGeometry
from nnunet_pyconv.runtime.resampling import resampled_channels

Labels = NDArray[np.uint8] | NDArray[np.uint16]


def labels_of(logits: NDArray[np.float16], geometry: PreprocessedGeometry, description: Description) -> Labels:
    """Turn logits into labels; beside them only one resampled channel is held.

    Args:
        logits: `(K, Z, Y, X)` in the network's geometry.
        geometry: The way back.
        description: Of the model.

    Returns:
        `(Z, Y, X)` of the image, not transposed.
    """
    return _placed(_labels(_resampled(logits, geometry, description), description), geometry, description)


def network_labels_of(logits: NDArray[np.float16], description: Description) -> NDArray[Any]:
    """Turn logits `(K, Z, Y, X)` into labels `(Z, Y, X)` without leaving the network's geometry."""
    return _labels(logits, description)


def _labels(channels: Iterable[NDArray[np.float16]], description: Description) -> NDArray[Any]:
    if description.regions_class_order is None:
        return _argmax(channels)
    return _paint_regions((_sigmoid(channel) for channel in channels), description)


def labels_and_probabilities_of(
    logits: NDArray[np.float16], geometry: PreprocessedGeometry, description: Description
) -> tuple[Labels, NDArray[np.float32]]:
    """Turn logits into labels and probabilities.

    Args:
        logits: `(K, Z, Y, X)` in the network's geometry.
        geometry: The way back.
        description: Of the model.

    Returns:
        Labels `(Z, Y, X)` and probabilities `(K, Z, Y, X)` of the image, not transposed.
    """
    shape = (logits.shape[0], *geometry.shape_after_cropping)
    inside = np.empty(shape, np.float32)
    for channel, resampled in zip(inside, _resampled(logits, geometry, description), strict=True):
        channel[...] = resampled
    if description.regions_class_order is not None:
        for channel in inside:
            channel[...] = _sigmoid(channel)
        labels = _paint_regions(inside, description)
    else:
        inside -= inside.max(0)
        np.exp(inside, out=inside)
        inside /= inside.sum(0)
        labels = inside.argmax(0)
    probabilities = np.zeros((shape[0], *geometry.shape_before_cropping), np.float32)
    if description.regions_class_order is None:
        probabilities[0] = 1  # background
    cropped = (slice(None), *geometry.crop)
    probabilities[cropped] = inside
    back = [0, *(axis + 1 for axis in description.transpose_backward)]
    return _placed(labels, geometry, description), probabilities.transpose(back)


def _resampled(
    logits: NDArray[np.float16], geometry: PreprocessedGeometry, description: Description
) -> Iterator[NDArray[np.float16]]:
    return resampled_channels(
        logits,
        geometry.shape_after_cropping,
        geometry.target_spacing,
        geometry.spacing,
        description.resample_logits,
    )


def _argmax(channels: Iterable[NDArray[np.float16]]) -> NDArray[np.int64]:
    """The first of the channels with the highest value."""
    best: NDArray[np.float16] | None = None
    winner = np.zeros(0, np.int64)
    for number, channel in enumerate(channels):
        if best is None:
            best, winner = channel.copy(), np.zeros(channel.shape, np.int64)
            continue
        better = channel > best
        best[better] = channel[better]
        winner[better] = number
    return winner


def _paint_regions(probabilities: Iterable[NDArray[np.float32]], description: Description) -> NDArray[Any]:
    """Write the value of each region where it is probable, later ones over earlier ones."""
    labels: NDArray[Any] | None = None
    for value, probability in zip(description.regions_class_order or (), probabilities, strict=True):
        if labels is None:
            labels = np.zeros(probability.shape, np.uint16)
        labels[probability > 0.5] = value
    assert labels is not None  # a model has at least one output
    return labels


def _sigmoid(logits: NDArray[Any]) -> NDArray[np.float32]:
    with np.errstate(over="ignore"):  # 1 / infinity is 0
        return np.reciprocal(1 + np.exp(-logits.astype(np.float32)))


def _placed(labels: NDArray[Any], geometry: PreprocessedGeometry, description: Description) -> Labels:
    """Put labels of the cropped part into the image."""
    dtype = np.uint8 if len(description.foreground_labels) < 255 else np.uint16
    image: Labels = np.zeros(geometry.shape_before_cropping, dtype)
    image[geometry.crop] = labels
    return image.transpose(description.transpose_backward)
