"""NIfTI by nibabel (nnU-Net's NibabelIO)."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
from nibabel.orientations import axcodes2ornt, io_orientation, ornt_transform
from numpy.typing import NDArray

from nnunet_pyconv.runtime.errors import InputError
from nnunet_pyconv.runtime.readers.base import Reader, ReadImage


class Nifti(Reader):
    """3D NIfTI; the axes are reversed, so that they are those of SimpleITK."""

    def _load(self, file: Path) -> tuple[Any, dict[str, Any]]:
        image: Any = nibabel.load(file)
        return image, {"original_affine": image.affine}

    def _read_file(self, file: Path) -> ReadImage:
        image, header = self._load(file)
        if image.ndim != 3:
            raise InputError(f"{file} has {image.ndim} axes; expected 3")
        spacing = [float(size) for size in image.header.get_zooms()[::-1]]
        return ReadImage(image.get_fdata().transpose(2, 1, 0)[None], spacing, {"nibabel_stuff": header})

    def _write_file(self, labels: NDArray[Any], file: Path, image: ReadImage) -> None:
        affine = image.header["nibabel_stuff"]["original_affine"]
        nibabel.save(nibabel.Nifti1Image(labels.transpose(2, 1, 0), affine), file)

    def _position(self, image: ReadImage) -> Mapping[str, Any]:
        return {"affine": list(image.header["nibabel_stuff"].values())[-1]}


class NiftiReoriented(Nifti):
    """The same, turned to RAS for the network and back afterwards (nnU-Net's NibabelIOWithReorient)."""

    def _load(self, file: Path) -> tuple[Any, dict[str, Any]]:
        image: Any = nibabel.load(file)
        turned = image.as_reoriented(io_orientation(image.affine))
        return turned, {"original_affine": image.affine, "reoriented_affine": turned.affine}

    def _write_file(self, labels: NDArray[Any], file: Path, image: ReadImage) -> None:
        header = image.header["nibabel_stuff"]
        turned = nibabel.Nifti1Image(labels.transpose(2, 1, 0), header["reoriented_affine"])
        back = ornt_transform(axcodes2ornt("RAS"), io_orientation(header["original_affine"]))
        result = turned.as_reoriented(back)
        if not np.allclose(result.affine, header["original_affine"]):
            print(f"warning: {file} has not exactly the affine of its image", file=sys.stderr)
        nibabel.save(result, file)
