"""PNG, BMP and 2D TIFF (nnU-Net's NaturalImage2DIO)."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nnunet_pyconv.runtime.errors import InputError
from nnunet_pyconv.runtime.readers.base import Reader, ReadImage

_TIFF = (".tif", ".tiff")


class NaturalImage(Reader):
    """2D images, grey or in colour; spacing is not read.

    nnU-Net reads and writes by `skimage.io`, which hands over to tifffile and imageio; these are used here directly,
    for importing scikit-image takes longer than many a prediction.
    """

    def _read_file(self, file: Path) -> ReadImage:
        array = _read_array(file)
        if array.ndim == 3 and array.shape[-1] in (3, 4):
            array = array.transpose(2, 0, 1)[:, None]
        elif array.ndim == 2:
            array = array[None, None]
        else:
            raise InputError(f"{file} has the shape {array.shape}; expected (Y, X), or (Y, X, 3 or 4) for colours")
        return ReadImage(array, (999, 1, 1))

    def _write_file(self, labels: NDArray[Any], file: Path, image: ReadImage) -> None:  # noqa: ARG002
        if file.suffix.lower() in _TIFF:
            import tifffile

            tifffile.imwrite(file, labels[0])
        else:
            import imageio.v3 as imageio

            imageio.imwrite(file, labels[0])


def _read_array(file: Path) -> NDArray[Any]:
    if file.suffix.lower() not in _TIFF:
        import imageio.v3 as imageio

        return np.asarray(imageio.imread(file))
    import tifffile

    array: NDArray[Any] = tifffile.imread(file)
    if array.ndim > 2 and array.shape[-1] not in (3, 4) and array.shape[-3] in (3, 4):  # as skimage.io.imread does
        array = np.swapaxes(np.swapaxes(array, -1, -3), -2, -3)
    return array
