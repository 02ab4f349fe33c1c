"""What the readers have in common."""

from __future__ import annotations

import sys
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nnunet_pyconv.runtime.errors import InputError

FLAT = 999
"""nnU-Net's distance between the slices of an image that has one only, as a multiple of its largest spacing."""


@dataclass(frozen=True)
class ReadImage:
    """An image, read as nnU-Net reads it.

    Attributes:
        array: `(C, Z, Y, X)`; a 2D image has Z = 1.
        spacing: (z, y, x) in mm.
        header: What else nnU-Net keeps of the file, under nnU-Net's names.
    """

    array: NDArray[np.float32]
    spacing: Sequence[float]
    header: Mapping[str, Any] = field(default_factory=dict)


class Reader(ABC):
    """Reads the files of a case and writes its labels."""

    def read(self, files: Sequence[Path]) -> ReadImage:
        """Read one case.

        Args:
            files: Of each channel, or one file with all of them.

        Raises:
            InputError: A file that can't be read, or files that don't fit together.
        """
        try:
            images = [self._read_file(file) for file in files]
        except InputError:
            raise
        except Exception as error:  # each library has its own
            raise InputError(f"can't read {', '.join(map(str, files))}: {_reason(error)}") from error
        first = images[0]
        for file, image in zip(files, images, strict=True):
            if image.array.shape != first.array.shape:
                raise InputError(
                    f"{file} has the shape {image.array.shape}, {files[0]} {first.array.shape}; channels of a case "
                    "must have one"
                )
            if not np.allclose(image.spacing, first.spacing):
                raise InputError(
                    f"{file} has the spacing {tuple(image.spacing)}, {files[0]} {tuple(first.spacing)}; channels of a "
                    "case must have one"
                )
            for key, value in self._position(image).items():
                if not np.allclose(value, self._position(first)[key]):
                    print(f"warning: {file} and {files[0]} differ in their {key}; do they overlap?", file=sys.stderr)
        array = np.vstack([image.array for image in images], dtype=np.float32, casting="unsafe")
        return ReadImage(array, first.spacing, first.header)

    def read_labels(self, file: Path) -> NDArray[np.float32]:
        """Read labels `(Z, Y, X)`.

        Raises:
            InputError: A file that can't be read.
        """
        return self.read([file]).array[0]

    def write(self, labels: NDArray[Any], file: Path, image: ReadImage) -> None:
        """Write labels `(Z, Y, X)` in the geometry of the image that they were predicted for.

        Raises:
            InputError: A file that can't be written.
        """
        dtype = np.uint8 if labels.max() < 255 else np.uint16
        try:
            self._write_file(labels.astype(dtype, copy=False), file, image)
        except OSError:
            raise
        except Exception as error:  # SimpleITK raises RuntimeError where the disk is full
            raise InputError(f"can't write {file}: {_reason(error)}; make room, or choose another place") from error

    @abstractmethod
    def _read_file(self, file: Path) -> ReadImage: ...

    @abstractmethod
    def _write_file(self, labels: NDArray[Any], file: Path, image: ReadImage) -> None: ...

    def _position(self, image: ReadImage) -> Mapping[str, Any]:  # noqa: ARG002  # most files have none
        """Where an image lies in space: what may differ between channels with a warning."""
        return {}


def _reason(error: Exception) -> str:
    lines = [line for line in str(error).strip().splitlines() if line.strip()]
    return f"{type(error).__name__}: {lines[-1].strip()[:300]}" if lines else type(error).__name__
