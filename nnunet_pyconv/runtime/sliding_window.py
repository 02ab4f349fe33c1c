"""nnU-Net's sliding window (inference/sliding_window_prediction.py and predict_from_raw_data.py).

Sums are in half precision as nnU-Net's are: two logits that it can't tell apart are equal here, too.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Sequence
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from nnunet_pyconv.runtime.errors import InputError

NetworkFunction = Callable[[NDArray[np.float32]], NDArray[np.float32]]
"""From a patch `(1, C, [Z,] Y, X)` to its logits `(1, K, [Z,] Y, X)`."""
Half = NDArray[np.float16]
NewArray = Callable[[tuple[int, ...]], Half]
"""Makes an array of zeros, in memory or in a file."""


def predict_logits(
    data: NDArray[np.float32],
    networks: Sequence[NetworkFunction],
    *,
    outputs: int,
    patch_size: Sequence[int],
    mirror_axes: Sequence[int] | None,
    step_size: float,
    new_array: NewArray,
    progress: Callable[[int, int], None] | None = None,
) -> Half:
    """Average the networks' logits over patches, mirrorings and folds.

    Args:
        data: `(C, Z, Y, X)`.
        networks: One for each fold.
        outputs: Channels of the networks' output.
        patch_size: Two numbers for networks of slices, else three.
        mirror_axes: Axes to mirror along, 0 the first of `patch_size`; None without mirroring.
        step_size: Distance of the patches as a share of their size.
        new_array: Where the logits accumulate.
        progress: Called with the number of patches that are done and that of all.

    Returns:
        `(outputs, Z, Y, X)`.

    Raises:
        InputError: Logits that are infinite or not a number.
    """
    leading = data.ndim - len(patch_size)
    missing = [0] * leading + [max(p - size, 0) for p, size in zip(patch_size, data.shape[leading:], strict=True)]
    below = [size // 2 for size in missing]
    padded = np.pad(data, [(b, m - b) for b, m in zip(below, missing, strict=True)]) if any(missing) else data
    original = (slice(None), *(slice(b, b + size) for b, size in zip(below[1:], data.shape[1:], strict=True)))
    places = list(windows(padded.shape[1:], patch_size, step_size))
    weight_sum = np.zeros(padded.shape[1:], np.float16)
    for place in places:
        weight_sum[place] += gaussian(tuple(patch_size))
    average: Half | None = None
    for fold, network in enumerate(networks):
        logits = new_array((outputs, *padded.shape[1:]))
        for number, place in enumerate(places):
            _add_patch(logits, padded, place, network, mirror_axes)
            if progress is not None:
                progress(fold * len(places) + number + 1, len(networks) * len(places))
        for channel in logits:
            with np.errstate(over="ignore", invalid="ignore"):  # told below
                channel /= weight_sum
            if not np.isfinite(channel).all():
                raise InputError("the network's output is infinite or not a number; the image's values may be extreme")
        if average is None:
            average = logits
        else:
            average += logits
    assert average is not None  # a model has at least one network
    if len(networks) > 1:
        average /= len(networks)
    return average[original]


def _add_patch(
    logits: Half,
    padded: NDArray[np.float32],
    place: tuple[Any, ...],
    network: NetworkFunction,
    mirror_axes: Sequence[int] | None,
) -> None:
    """Predict one patch and add its weighted logits."""
    index = (slice(None), *place)
    prediction = mirrored(network, np.ascontiguousarray(padded[index][None]), mirror_axes)[0]
    prediction *= gaussian(prediction.shape[1:])
    logits[index] += prediction


def mirrored(
    network: NetworkFunction, patch: NDArray[np.float32], mirror_axes: Sequence[int] | None
) -> NDArray[np.float32]:
    """Average the network's logits over all combinations of mirrored axes.

    Args:
        network: From a patch to its logits.
        patch: `(1, C, [Z,] Y, X)`.
        mirror_axes: 0 is the first after the channels; None without mirroring.

    Returns:
        `(1, K, [Z,] Y, X)`.
    """
    prediction = network(patch)
    axes = [axis + 2 for axis in mirror_axes or ()]
    combinations = [chosen for count in range(1, len(axes) + 1) for chosen in itertools.combinations(axes, count)]
    for chosen in combinations:
        prediction += np.flip(network(np.ascontiguousarray(np.flip(patch, chosen))), chosen)
    if combinations:
        prediction /= len(combinations) + 1
    return prediction


def windows(shape: Sequence[int], patch_size: Sequence[int], step_size: float) -> Iterator[tuple[Any, ...]]:
    """Go through the places of the patches, each an index into `(Z, Y, X)`."""
    leading = [range(size) for size in shape[: len(shape) - len(patch_size)]]
    starts = [steps(size, patch, step_size) for size, patch in zip(shape[len(leading) :], patch_size, strict=True)]
    for place in itertools.product(*leading, *starts):
        slices = (slice(start, start + patch) for start, patch in zip(place[len(leading) :], patch_size, strict=True))
        yield (*place[: len(leading)], *slices)


def steps(size: int, patch: int, step_size: float) -> list[int]:
    """Return where the patches start along an axis: evenly spaced, no further apart than `patch * step_size`."""
    count = int(np.ceil((size - patch) / (patch * step_size))) + 1
    distance = (size - patch) / (count - 1) if count > 1 else 0.0
    return [int(np.round(distance * number)) for number in range(count)]


@lru_cache(maxsize=2)
def gaussian(patch_size: tuple[int, ...]) -> Half:
    """Return the weight of each voxel of a patch: a Gaussian of sigma = patch / 8, at most 10 and nowhere 0."""
    peak = np.zeros(patch_size)
    peak[tuple(size // 2 for size in patch_size)] = 1
    weights = ndimage.gaussian_filter(peak, [size / 8 for size in patch_size], 0, mode="constant", cval=0)
    weights /= np.max(weights) / 10
    half: Half = weights.astype(np.float32).astype(np.float16)  # in two steps, as torch converts
    half[half == 0] = half[half != 0].min()
    return half
