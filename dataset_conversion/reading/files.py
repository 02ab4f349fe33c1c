"""One reader for every file: the ending decides which library opens it."""

from __future__ import annotations

from pathlib import Path

from PIL import Image

from nnunet_pyconv.dataset_conversion.reading.pictures import read_picture
from nnunet_pyconv.dataset_conversion.reading.raster import Raster, require_pixels
from nnunet_pyconv.dataset_conversion.reading.tiff import read_tiff
from nnunet_pyconv.dataset_conversion.reading.volumes import read_volume
from nnunet_pyconv.errors import InputError

TIFF_ENDINGS = (".tif", ".tiff")
PICTURE_ENDINGS = (".png", *TIFF_ENDINGS, ".bmp", ".jpg", ".jpeg", ".gif")
VOLUME_ENDINGS = (".nii.gz", ".nii", ".nrrd", ".mha")
ENDINGS = (*PICTURE_ENDINGS, *VOLUME_ENDINGS)


def ending(path: Path) -> str | None:
    """Return which of `ENDINGS` a file has, in small letters; None for another."""
    return next((known for known in ENDINGS if path.name.lower().endswith(known)), None)


def has_palette(path: Path) -> bool:
    """Tell by its header whether a picture's pixels are indices of colours; not so what can't be read."""
    if ending(path) not in PICTURE_ENDINGS:
        return False
    try:
        with Image.open(path) as file:
            return file.mode == "P"
    except Exception:  # whatever damage makes Pillow raise; `read` says it
        return False


def read(path: Path) -> Raster:
    """Read one picture or volume as its file describes it.

    A TIFF's WhiteIsZero is inverted, orientation applied, planes put together; opaque alpha is dropped; 1, 2 and 4 bits
    become 8.

    Args:
        path: One of `ENDINGS`.

    Returns:
        Its pixels, in the file's own type otherwise.

    Raises:
        InputError: A file that is missing, truncated, not an image, or holds what can't be honoured: several pages,
            transparency, CMYK and other colour spaces.
    """
    kind = ending(path)
    if kind is None:
        raise InputError(f"{path} has an unknown ending; expected one of {', '.join(ENDINGS)}")
    reader = read_tiff if kind in TIFF_ENDINGS else read_volume if kind in VOLUME_ENDINGS else read_picture
    raster = reader(path)
    require_pixels(raster.pixels, str(path))
    return raster
