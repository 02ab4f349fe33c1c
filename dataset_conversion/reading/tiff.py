"""TIFF, with what its tags say of the pixels."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import tifffile
from numpy.typing import NDArray
from tifffile import COMPRESSION, PHOTOMETRIC

from nnunet_pyconv.dataset_conversion.reading.failures import logged_errors_raised, reading
from nnunet_pyconv.dataset_conversion.reading.raster import Array, Raster, require_pixels, without_alpha
from nnunet_pyconv.errors import InputError

_GREY = (PHOTOMETRIC.MINISWHITE, PHOTOMETRIC.MINISBLACK)
_JPEG = (COMPRESSION.JPEG, COMPRESSION.OJPEG)  # tifffile decodes their YCbCr to RGB


def read_tiff(path: Path) -> Raster:
    """Read a TIFF of one page.

    Returns:
        `(Y, X)` or `(Y, X, 3)`, or indices with their palette.

    Raises:
        InputError: As `read`.
    """
    with reading(path, "TIFF"), logged_errors_raised("tifffile"), tifffile.TiffFile(path) as file:
        pages = _pages(file, path)
        if len(pages) > 1:
            raise InputError(
                f"{path} has {len(pages)} pages; expected one picture, save the pages one by one (or a volume as "
                "NIfTI, with its spacing)"
            )
        return _read_page(pages[0], str(path))


def read_stack(path: Path) -> Array:
    """Read a multi-page TIFF of grey images.

    Returns:
        `(pages, Y, X)`; one page is a stack of one.

    Raises:
        InputError: Pages in colour or of several sizes or types, and as `read`.
    """
    with reading(path, "TIFF"), logged_errors_raised("tifffile"), tifffile.TiffFile(path) as file:
        pages = _pages(file, path)
        kinds = {f"{' x '.join(map(str, page.shape))} {page.dtype}" for page in pages}
        if len(kinds) > 1:
            raise InputError(f"{path} has pages of several sizes or types ({', '.join(sorted(kinds))}); expected one")
        for page in pages:
            if page.photometric not in _GREY or page.axes != "YX":
                raise InputError(
                    f"{path} has pages of {PHOTOMETRIC(page.photometric).name}, {' x '.join(map(str, page.shape))}; "
                    "expected a multi-page TIFF of grey images"
                )
        stack = np.stack([_read_page(page, str(path)).pixels for page in pages])
    require_pixels(stack, str(path))
    return stack


def _pages(file: tifffile.TiffFile, path: Path) -> list[tifffile.TiffPage]:
    """Return the pages but previews of others; raise an InputError where the file describes fewer than it holds."""
    pages = [page for page in map(_whole_page, file.pages) if not page.is_reduced]
    if not pages:
        raise InputError(f"{path} holds no image; copy the file again")
    if file.is_imagej and file.imagej_metadata is not None and file.imagej_metadata.get("images", 1) > len(pages):
        raise InputError(
            f"{path} holds a stack of {file.imagej_metadata['images']} images that only ImageJ finds; save it from "
            "ImageJ as an image sequence"
        )
    return pages


def _whole_page(page: tifffile.TiffPage | tifffile.TiffFrame) -> tifffile.TiffPage:
    return page.aspage() if isinstance(page, tifffile.TiffFrame) else page


def _read_page(page: tifffile.TiffPage, source: str) -> Raster:
    photometric = page.photometric
    is_colour = photometric == PHOTOMETRIC.RGB or (photometric == PHOTOMETRIC.YCBCR and page.compression in _JPEG)
    if photometric not in (*_GREY, PHOTOMETRIC.PALETTE) and not is_colour:
        raise InputError(
            f"{source} has {PHOTOMETRIC(photometric).name} colours; expected grey, a palette or RGB, save it as one of "
            "these"
        )
    if page.axes not in (("YX",) if photometric == PHOTOMETRIC.PALETTE else ("YX", "YXS", "SYX")):
        raise InputError(f"{source} has the axes {page.axes}; expected one picture (Y, X), save the planes one by one")
    pixels: Array = page.asarray()
    if page.axes == "SYX":  # a plane for each sample
        pixels = np.moveaxis(pixels, 0, -1)
    if photometric == PHOTOMETRIC.PALETTE:
        return Raster(_oriented(pixels, page, source), _palette(page))
    if pixels.dtype.kind in "ub" and page.bitspersample < 8:
        # as the readers of PNG do: white is 255
        pixels = (pixels.astype(np.uint16) * 255 // (2**page.bitspersample - 1)).astype(np.uint8)
    white = 2 ** max(page.bitspersample, 8) - 1 if pixels.dtype.kind == "u" else 1
    # tifffile calls zero white in any array of truth values: its writer meant true to be the foreground
    if photometric == PHOTOMETRIC.MINISWHITE and not (page.bitspersample == 1 and page.software == "tifffile.py"):
        if pixels.dtype.kind != "u":
            raise InputError(
                f"{source} says that 0 is white (WhiteIsZero), but has pixels of type {pixels.dtype}, which have no "
                "black; expected unsigned integers, save it with BlackIsZero"
            )
        pixels = pixels.dtype.type(white) - pixels
    if pixels.ndim == 3:
        pixels = without_alpha(pixels, source, white)
    return Raster(_oriented(pixels, page, source))


def _palette(page: tifffile.TiffPage) -> NDArray[np.uint8]:
    colours = np.asarray(page.colormap).T  # (entries, 3), 16 bits; some programs write 8
    return (colours >> 8 if colours.max() > 255 else colours).astype(np.uint8)


def _oriented(pixels: Array, page: tifffile.TiffPage, source: str) -> Array:
    """Turn the pixels so that the first row is the top and the first column the left of the picture."""
    tag = page.tags.get("Orientation")
    orientation = 1 if tag is None else int(tag.value)
    if not 1 <= orientation <= 8:
        raise InputError(f"{source} has the unknown orientation {orientation}; expected 1 to 8, save it anew")
    if orientation >= 5:  # rows and columns are exchanged
        pixels = np.swapaxes(pixels, 0, 1)
    if orientation in (3, 4, 7, 8):  # the first row is the bottom
        pixels = pixels[::-1]
    if orientation in (2, 3, 6, 7):  # the first column is the right
        pixels = pixels[:, ::-1]
    return pixels
