"""Grey images and binary masks out of what files hold."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from nnunet_pyconv.dataset_conversion.reading.files import read
from nnunet_pyconv.dataset_conversion.reading.raster import Array
from nnunet_pyconv.errors import InputError

Label = NDArray[np.uint8]


@dataclass(frozen=True)
class Mask:
    """A binary label image.

    Attributes:
        foreground: `(Y, X)` or `(Z, Y, X)`, true where the file's value is not 0.
        remark: What is odd about the values, None for nothing.
    """

    foreground: NDArray[np.bool_]
    remark: str | None = None


def read_grey(path: Path) -> Array:
    """Read an image of grey values, `(Y, X)`.

    Raises:
        InputError: As `read` and `to_grey`.
    """
    return to_grey(read(path).colours(), str(path))


def read_mask(path: Path) -> Mask:
    """Read a binary label image.

    Raises:
        InputError: As `read` and `to_mask`.
    """
    return to_mask(read(path).values(), str(path))


def to_grey(image: Array, source: str) -> Array:
    """Collapse an image with equal colour channels to one channel.

    Args:
        image: `(Y, X)` or `(Y, X, 3)`.
        source: Where the image comes from, for the message.

    Returns:
        `(Y, X)`.

    Raises:
        InputError: Channels that differ.
    """
    if image.ndim == 2:
        return image
    grey: Array = image[..., 0]
    if (image == grey[..., None]).all():
        return grey
    raise InputError(f"{source} is a colour image; expected grey values (one channel, or three equal ones)")


def to_mask(label: Array, source: str) -> Mask:
    """Take a label image of two values for a mask.

    Args:
        label: `(Y, X)`, or `(Y, X, 3)` with equal channels: 0 and another value. That is 1 or the type's white (255,
            65535) as a rule; others are accepted, as two values can't be mistaken, with a remark.
        source: Where the label comes from, for the message.

    Returns:
        The mask, false where the label is 0.

    Raises:
        InputError: More than two values, for instance those of antialiased edges, two without 0, or only one that is
            neither 0 nor 1 nor white.
    """
    grey = to_grey(label, source)
    foreground: NDArray[np.bool_] = grey != 0
    usual = {1, 255, np.iinfo(grey.dtype).max if grey.dtype.kind == "u" else 255}
    # not by np.unique, whose sorting would take longer than reading the file
    highest = grey.max()
    if any(np.array_equal(grey == value, foreground) for value in usual):
        return Mask(foreground)
    if highest > 0 and not foreground.all() and np.array_equal(grey == highest, foreground):
        return Mask(foreground, f"the label has the values 0 and {highest:g} instead of 0 and 255: taken for them")
    values = np.unique(grey)
    message = (
        f"label {source} has {len(values)} value{'s' * (len(values) > 1)} ({_some(values)}); expected two, 0 and 255 "
        "(or 0 and 1)"
    )
    if len(values) > 2 and {0, 255} <= set(values.tolist()):
        message += (
            ". Grey values between them are what resizing or lossy compression leaves at edges (antialiasing): "
            "threshold the label at 128 and save it as PNG or TIFF"
        )
    raise InputError(message)


def require_same_size(image: tuple[int, ...], label: tuple[int, ...], source: str) -> None:
    """Raise an InputError where image and label of a case, `(Y, X)` or `(Z, Y, X)`, differ in size."""
    if image != label:
        raise InputError(
            f"{source}: the image has {_size(image)} pixels and its label {_size(label)}; "
            "expected the same size, check that both belong together"
        )


def _size(shape: tuple[int, ...]) -> str:
    return " x ".join(map(str, shape))


def _some(values: Array) -> str:
    shown = ", ".join(f"{value:g}" for value in values[:5])
    return shown + (", ..." if len(values) > 5 else "")
