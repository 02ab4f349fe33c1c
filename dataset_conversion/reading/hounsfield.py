"""Hounsfield units out of the pixel types in which CT slices are stored."""

from __future__ import annotations

import numpy as np

from nnunet_pyconv.dataset_conversion.reading.raster import Array
from nnunet_pyconv.errors import InputError

_INT16 = np.iinfo(np.int16)


def to_hounsfield(image: Array, source: str) -> Array:
    """Return signed Hounsfield units in the smallest type that holds them exactly.

    Args:
        image: `(Y, X)` of integers or floating-point numbers. The upper half of an unsigned type are negative values
            that were stored wrapped (64,512 for -1,024). 8 bits can't hold Hounsfield units: such an image stays as
            it is, and its type says so.
        source: Where the image comes from, for the message.

    Returns:
        `(Y, X)`, int16 where all values are whole, float32 where they are not; uint8 if it was that.

    Raises:
        InputError: Another type, values that are not finite, or values outside int16, which no CT has.
    """
    image = image.astype(image.dtype.newbyteorder("="), copy=False)
    if image.dtype in (np.uint8, np.int16):
        return image
    if image.dtype.kind == "u":
        image = image.view(f"i{image.dtype.itemsize}")
    if image.dtype.kind not in "if" or image.dtype == np.int8:
        raise InputError(
            f"{source} has pixels of type {image.dtype}; expected Hounsfield units in 16- or 32-bit integers or floats"
        )
    if not np.isfinite(image).all():
        raise InputError(
            f"{source} has pixels that are not finite; expected Hounsfield units, set such pixels to -1024 (air)"
        )
    low, high = image.min(), image.max()
    if low < _INT16.min or high > _INT16.max:
        raise InputError(
            f"{source} has values from {low:g} to {high:g}; expected Hounsfield units, which lie between {_INT16.min} "
            f"and {_INT16.max}"
        )
    whole = image.astype(np.int16)
    return whole if np.array_equal(whole, image) else image.astype(np.float32)
