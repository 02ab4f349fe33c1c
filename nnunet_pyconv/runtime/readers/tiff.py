"""3D TIFF (nnU-Net's Tiff3DIO)."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import tifffile
from numpy.typing import NDArray

from nnunet_pyconv.runtime.errors import InputError
from nnunet_pyconv.runtime.readers.base import Reader, ReadImage

_CHANNEL = len("_0000")


class Tiff3D(Reader):
    """Pages of a TIFF as slices; the spacing is in a JSON file beside it, `case.json` for `case_0000.tif`."""

    def read(self, files: Sequence[Path]) -> ReadImage:
        """Read one case and its spacing, see `Reader.read`."""
        image = super().read(files)
        return ReadImage(image.array, _spacing(files[0].with_name(files[0].stem[:-_CHANNEL] + ".json")))

    def read_labels(self, file: Path) -> NDArray[np.float32]:
        """Read labels, see `Reader.read_labels`."""
        return super().read([file]).array[0]

    def _read_file(self, file: Path) -> ReadImage:
        array = tifffile.imread(file)
        if array.ndim != 3:
            raise InputError(f"{file} has the shape {array.shape}; expected (Z, Y, X)")
        return ReadImage(array[None], (1, 1, 1))

    def _write_file(self, labels: NDArray[Any], file: Path, image: ReadImage) -> None:
        tifffile.imwrite(file, labels, compression="zlib")
        file.with_suffix(".json").write_text(json.dumps({"spacing": list(image.spacing)}))


def _spacing(file: Path) -> tuple[float, ...]:
    if not file.is_file():
        print(f"warning: there is no {file} with the spacing, which is taken to be 1 mm", file=sys.stderr)
        return (1, 1, 1)
    try:
        spacing = tuple(float(size) for size in json.loads(file.read_text("utf-8"))["spacing"])
    except (ValueError, KeyError, TypeError) as error:
        raise InputError(f'{file} is no JSON such as {{"spacing": [3, 0.5, 0.5]}} ({error!r})') from error
    if len(spacing) != 3:
        raise InputError(f"{file} has {len(spacing)} spacings; expected three")
    return spacing
