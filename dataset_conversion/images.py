"""Reading images and masks as the datasets really have them."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import skimage.io as io
import tifffile
from numpy.typing import NDArray

from nnunet_pyconv.errors import InputError

Array = NDArray[Any]


def read_image(path: Path) -> Array:
    """Read one image or multi-page TIFF.

    Args:
        path: A TIFF or PNG.

    Returns:
        `(Y, X)`, `(Y, X, 3)` or, for a multi-page TIFF, `(pages, Y, X)`, in the file's own type.

    Raises:
        InputError: A file that is missing, truncated or not an image, or pages of several sizes.
    """
    try:
        # scikit-image would take a stack of three or four pages for the channels of one image
        image: Array = _read_tiff(path) if path.suffix.lower() in (".tif", ".tiff") else io.imread(path)
    except InputError:
        raise
    except Exception as error:  # each image library raises its own kinds
        raise InputError(
            f"can't read {path}: {error or type(error).__name__}. Expected a whole TIFF or PNG; "
            "the file may be truncated, copy it again"
        ) from error
    if image.size == 0 or image.ndim < 2:
        raise InputError(f"{path} holds no image (shape {image.shape}); copy the file again")
    return image


def _read_tiff(path: Path) -> Array:
    with _tifffile_errors_raised(), tifffile.TiffFile(path) as file:
        # tifffile reads all pages with the shape of the first
        kinds = {f"{_size(page.shape)} {page.dtype}" for page in file.pages}
        if len(kinds) > 1:
            raise InputError(f"{path} has pages of several sizes or types ({', '.join(sorted(kinds))}); expected one")
        return file.asarray()


@contextmanager
def _tifffile_errors_raised() -> Iterator[None]:
    """Raise what tifffile only logs: it reads a truncated stack as far as it goes, and says so in its log."""
    records: list[logging.LogRecord] = []
    handler = logging.Handler(logging.ERROR)
    handler.emit = records.append  # type: ignore[method-assign,assignment]
    logger = logging.getLogger("tifffile")
    logger.addHandler(handler)
    try:
        yield
    finally:
        logger.removeHandler(handler)
    if records:
        raise ValueError(records[0].getMessage())


def read_grey(path: Path) -> Array:
    """Read an image of grey values, `(Y, X)`: `read_image` and `to_grey`."""
    return to_grey(read_image(path), str(path))


def read_mask(path: Path) -> NDArray[np.uint8]:
    """Read a binary label image as 0 and 1, `(Y, X)`: `read_image` and `to_mask`."""
    return to_mask(read_image(path), str(path)).astype(np.uint8)


def to_grey(image: Array, source: str) -> Array:
    """Collapse an image with equal colour channels to one channel.

    Args:
        image: `(Y, X)` or `(Y, X, 3 or 4)`; a fourth channel is opacity and ignored.
        source: Where the image comes from, for the message.

    Returns:
        `(Y, X)`.

    Raises:
        InputError: Channels that differ, or another number of axes.
    """
    if image.ndim == 2:
        return image
    if image.ndim == 3 and image.shape[-1] in (3, 4):
        grey: Array = image[..., 0]
        if (image[..., :3] == grey[..., None]).all():
            return grey
        raise InputError(f"{source} is a colour image; expected grey values (one channel, or three equal ones)")
    raise InputError(f"{source} has shape {image.shape}; expected one grey image (Y, X)")


def to_mask(label: Array, source: str) -> NDArray[np.bool_]:
    """Read a binary label image of 0 and 255, or 0 and 1.

    Args:
        label: `(Y, X)`, or `(Y, X, 3)` with equal channels.
        source: Where the label comes from, for the message.

    Returns:
        `(Y, X)`, true where the label is not 0.

    Raises:
        InputError: Other values, for instance those of antialiased edges.
    """
    grey = to_grey(label, source)
    foreground: NDArray[np.bool_] = grey != 0
    # not by np.unique, whose sorting would take longer than reading the file
    if any(np.array_equal(grey == value, foreground) for value in (255, 1)):
        return foreground
    values = np.unique(grey)
    message = f"label {source} has {len(values)} values ({_some(values)}); expected two, 0 and 255 (or 0 and 1)"
    if len(values) > 2 and {0, 255} <= set(values.tolist()):
        message += (
            ". Grey values between them are what resizing or lossy compression leaves at edges (antialiasing): "
            "threshold the label at 128 and save it as PNG or TIFF"
        )
    raise InputError(message)


def require_same_size(image: Array, label: Array, source: str) -> None:
    """Raise an InputError where image `(Y, X)` and label `(Y, X)` of a case differ in size."""
    if image.shape != label.shape:
        raise InputError(
            f"{source}: the image has {_size(image.shape)} pixels and its label {_size(label.shape)}; "
            "expected the same size, check that both belong together"
        )


def _size(shape: Sequence[int]) -> str:
    return " x ".join(map(str, shape))


def _some(values: Array) -> str:
    shown = ", ".join(f"{value:g}" for value in values[:5])
    return shown + (", ..." if len(values) > 5 else "")
