"""What a file holds: pixels, and what is needed to understand them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nnunet_pyconv.errors import InputError

Array = NDArray[Any]
Colour = tuple[int, int, int]  # red, green, blue of 0 to 255


@dataclass(frozen=True)
class Geometry:
    """Where the voxels of a volume lie, in SimpleITK's order (x, y, z).

    Attributes:
        spacing: Distance of the voxels' centres, in mm.
        origin: Position of the first voxel, in mm.
        direction: Direction cosines, row by row.
    """

    spacing: tuple[float, ...]
    origin: tuple[float, ...]
    direction: tuple[float, ...]


@dataclass(frozen=True)
class Raster:
    """The content of a file.

    Attributes:
        pixels: A picture `(Y, X)` of grey values or palette indices or `(Y, X, 3)` of colours; or a volume
            `(Z, Y, X)`, or `(channels, Z, Y, X)`.
        palette: `(entries, 3)` in 8 bits, where the pixels are indices of colours.
        geometry: Of a volume; None for a picture.
    """

    pixels: Array
    palette: NDArray[np.uint8] | None = None
    geometry: Geometry | None = None

    def colours(self) -> Array:
        """Return the pixels with the palette applied: grey `(Y, X)` where all of its used colours are grey."""
        if self.palette is None:
            return self.pixels
        colours: Array = self.palette[self.pixels]
        return colours[..., 0] if self.palette_is_grey else colours

    def values(self) -> Array:
        """Return what a label image says: grey values, or the indices where the palette's colours are not grey.

        Label images with a coloured palette number their classes by the index; the colours only show them.
        """
        return self.colours() if self.palette_is_grey else self.pixels

    @property
    def palette_is_grey(self) -> bool:
        """Whether no colour that the pixels have is other than grey; so without a palette."""
        if self.palette is None:
            return True
        used = self.palette[np.flatnonzero(np.bincount(self.pixels.ravel(), minlength=len(self.palette)))]
        return bool((used == used[:, :1]).all())


def without_alpha(pixels: Array, source: str, white: float) -> Array:
    """Drop an opaque alpha channel, the last of two or four.

    Args:
        pixels: `(Y, X, samples)`.
        source: Where they come from, for the message.
        white: The value of an opaque pixel.

    Returns:
        `(Y, X)` of one or two samples, `(Y, X, 3)` of three or four.

    Raises:
        InputError: Pixels that are transparent, or another number of samples.
    """
    samples = pixels.shape[-1]
    if samples not in (1, 2, 3, 4):
        raise InputError(f"{source} has {samples} samples a pixel; expected grey (1) or red, green and blue (3)")
    if samples in (2, 4):
        alpha = pixels[..., -1]
        if not (alpha == white).all():
            raise InputError(
                f"{source} has transparent pixels (an alpha channel from {alpha.min():g} to {alpha.max():g}); expected "
                "opaque ones: save it without alpha, so that it says what lies behind them"
            )
    return pixels[..., 0] if samples <= 2 else pixels[..., :3]


def hex_of(colour: Colour | NDArray[np.uint8]) -> str:
    """Write a colour as `#rrggbb`."""
    return "#" + "".join(f"{int(part):02x}" for part in colour)


def require_pixels(pixels: Array, source: str) -> None:
    """Raise an InputError for no pixels at all, and for a type that is no number on a line."""
    if pixels.size == 0 or pixels.ndim < 2:
        raise InputError(f"{source} holds no image (shape {pixels.shape}); copy the file again")
    if pixels.dtype.kind not in "uif":
        raise InputError(f"{source} has pixels of type {pixels.dtype}; expected integers or floating-point numbers")
