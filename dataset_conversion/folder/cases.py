"""Reading the cases of a folder."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np

from nnunet_pyconv.dataset_conversion.cases import Case, CaseData
from nnunet_pyconv.dataset_conversion.folder.label_coding import LabelCoding
from nnunet_pyconv.dataset_conversion.folder.pairing import Pair
from nnunet_pyconv.dataset_conversion.reading import Geometry, Raster, ending, read, require_same_size
from nnunet_pyconv.errors import InputError


def case_of(pair: Pair, coding: LabelCoding, num_channels: int) -> Case:
    """Return the case of a pair.

    Args:
        pair: Its files.
        coding: Of its label images, if it has any.
        num_channels: Of all images: grey ones among colours get three equal channels.
    """
    return Case(pair.name, str(pair.image), partial(_read, pair, coding, num_channels))


def _read(pair: Pair, coding: LabelCoding, num_channels: int) -> CaseData:
    return with_label(read_image(pair, num_channels), pair, coding) if pair.labels else read_image(pair, num_channels)


def read_image(pair: Pair, num_channels: int = 1) -> CaseData:
    """Read the image of a case.

    Args:
        pair: Its files.
        num_channels: 3 makes colours of grey pictures.

    Returns:
        An array of a picture or of each channel of a volume, without label.

    Raises:
        InputError: A file that can't be read.
    """
    raster = read(pair.image)
    pixels = raster.colours()
    if pixels.dtype == np.float64:  # nnU-Net computes in float32
        pixels = pixels.astype(np.float32)
    if raster.geometry is not None:
        return CaseData(tuple(pixels) if pixels.ndim == 4 else (pixels,), geometry=raster.geometry)
    return CaseData((np.repeat(pixels[..., None], 3, axis=-1) if num_channels == 3 and pixels.ndim == 2 else pixels,))


def with_label(data: CaseData, pair: Pair, coding: LabelCoding) -> CaseData:
    """Read the label images of a case and merge them.

    Args:
        data: Of the case's image.
        pair: Its files, with at least one label image.
        coding: What the label images' values mean.

    Raises:
        InputError: Files that can't be read, do not fit the image or the coding, or contradict each other.
    """
    label = np.zeros(size_of(data), np.uint8)
    approximated, remarks = 0, data.remarks
    for path, raster in label_rasters(pair, data, coding.approximates):
        encoded = coding.encode(raster, str(path))
        if not _same_origin(data.geometry, raster.geometry):
            remarks = ("image and label image have different origins; they are laid on each other voxel by voxel",)
        both = (label > 0) & (encoded.label > 0) & (label != encoded.label)
        if both.any():
            raise InputError(
                f"{path} and another label image of {pair.name} give {np.count_nonzero(both)} pixels two classes; "
                "expected one class for each pixel"
            )
        label = np.maximum(label, encoded.label)
        approximated += encoded.approximated
    return CaseData(data.images, label, data.geometry, remarks, approximated)


def size_of(data: CaseData) -> tuple[int, ...]:
    """Return the size of an image without its channels."""
    shape = data.images[0].shape
    return shape[:2] if data.geometry is None else shape


def label_rasters(pair: Pair, data: CaseData, approximates: bool) -> Iterator[tuple[Path, Raster]]:
    """Read the label images of a case.

    Args:
        pair: Its files.
        data: Of its image.
        approximates: Whether values may be taken for others, as JPEG needs it.

    Yields:
        Each file and its content.

    Raises:
        InputError: A file that can't be read, has another size or geometry than the image, or is a JPEG.
    """
    for path in pair.labels:
        if ending(path) in (".jpg", ".jpeg") and not approximates:
            raise InputError(
                f"label image {path} is a JPEG, whose compression changes values at edges; expected PNG or TIFF, or "
                "give --threshold"
            )
        raster = read(path)
        if pair.by_index:
            raster = replace(raster, palette=None)
        if (raster.geometry is None) != (data.geometry is None):
            raise InputError(f"{pair.image} and {path} are a picture and a volume; expected two of a kind")
        shape = raster.pixels.shape[:2] if raster.geometry is None else raster.pixels.shape
        require_same_size(size_of(data), shape, f"{pair.image} and {path}")
        if data.geometry is not None and raster.geometry is not None:
            _require_same_grid(data.geometry, raster.geometry, path)
        yield path, raster


def _require_same_grid(image: Geometry, label: Geometry, path: Path) -> None:
    for what, of_image, of_label in (
        ("spacing", image.spacing, label.spacing),
        ("direction", image.direction, label.direction),
    ):
        if not np.allclose(of_image, of_label, atol=1e-3):
            raise InputError(
                f"label image {path} has the {what} {_numbers(of_label)} and its image {_numbers(of_image)}; expected "
                "the same, resample the label image to its image"
            )


def _same_origin(image: Geometry | None, label: Geometry | None) -> bool:
    return image is None or label is None or bool(np.allclose(image.origin, label.origin, atol=1e-2))


def _numbers(values: Sequence[float]) -> str:
    return "(" + ", ".join(f"{value:g}" for value in values) + ")"
