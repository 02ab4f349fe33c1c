"""PNG, JPEG, BMP and GIF."""

from __future__ import annotations

from pathlib import Path

import imagecodecs
import numpy as np
from PIL import Image, ImageOps

from nnunet_pyconv.dataset_conversion.reading.failures import reading
from nnunet_pyconv.dataset_conversion.reading.raster import Array, Raster, without_alpha
from nnunet_pyconv.errors import InputError

# Pillow's names of what a file holds, to what it is converted to; others are refused
_MODES = {"1": "L", "L": "L", "LA": "LA", "PA": "RGBA", "RGB": "RGB", "RGBA": "RGBA"}


def read_picture(path: Path) -> Raster:
    """Read a PNG, JPEG, BMP or GIF.

    Returns:
        `(Y, X)` or `(Y, X, 3)`, or indices with their palette.

    Raises:
        InputError: As `read`.
    """
    with reading(path, "PNG, JPEG, BMP or GIF"), Image.open(path) as file:
        if getattr(file, "n_frames", 1) > 1:
            raise InputError(f"{path} has {file.n_frames} frames; expected one picture, save the one you need")
        if file.format == "PNG" and _bits_of_png(path) == 16:
            # Pillow would reduce colours of 16 bits to 8
            pixels: Array = imagecodecs.png_decode(path.read_bytes())
        else:
            image = ImageOps.exif_transpose(file)
            transparent = "transparency" in image.info
            if image.mode == "P" and not transparent:
                palette = np.array(image.getpalette(), np.uint8).reshape(-1, 3)
                indices = np.asarray(image)
                missing = max(0, int(indices.max()) + 1 - len(palette))
                return Raster(indices, np.pad(palette, ((0, missing), (0, 0))))
            mode = ("LA" if image.mode in ("1", "L") else "RGBA") if transparent else _MODES.get(image.mode)
            if mode is None:
                raise InputError(f"{path} has {image.mode} colours; expected grey or RGB, save it as one of these")
            pixels = np.asarray(image if image.mode == mode else image.convert(mode))
    if pixels.ndim == 3:
        pixels = without_alpha(pixels, str(path), np.iinfo(pixels.dtype).max)
    return Raster(pixels)


def _bits_of_png(path: Path) -> int:
    """Bits a sample, which stand at this place of every PNG."""
    with path.open("rb") as file:
        return file.read(25)[24]
