"""NRRD, MHA and GIPL by SimpleITK (nnU-Net's SimpleITKIO), and NIfTI that is turned (SimpleITKIOWithReorient)."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import SimpleITK as sitk  # noqa: N813  # its own habit
from numpy.typing import NDArray

from nnunet_pyconv.runtime.errors import InputError
from nnunet_pyconv.runtime.readers.base import FLAT, Reader, ReadImage


class Itk(Reader):
    """2D and 3D images."""

    def _load(self, file: Path) -> tuple[sitk.Image, dict[str, Any]]:
        return sitk.ReadImage(str(file)), {}

    def _read_file(self, file: Path) -> ReadImage:
        image, header = self._load(file)
        if (components := image.GetNumberOfComponentsPerPixel()) != 1:
            raise InputError(f"{file} has {components} values a pixel; expected 1, and a file for each channel")
        spacing, array = image.GetSpacing(), sitk.GetArrayFromImage(image)
        if array.ndim == 2:
            array, reverse = array[None, None], (FLAT * max(spacing), *spacing[::-1])
        elif array.ndim == 3:
            array, reverse = array[None], spacing[::-1]
        else:  # of four axes, nnU-Net reads one as the channels, and then can't write the labels
            raise InputError(f"{file} has {array.ndim} axes; expected 2 or 3, and a file for each channel")
        header |= {"spacing": spacing, "origin": image.GetOrigin(), "direction": image.GetDirection()}
        return ReadImage(array, [abs(float(size)) for size in reverse], {"sitk_stuff": header})

    def _write_file(self, labels: NDArray[Any], file: Path, image: ReadImage) -> None:
        sitk.WriteImage(self._image(labels, image), str(file), True)

    def _image(self, labels: NDArray[Any], image: ReadImage) -> sitk.Image:
        header = image.header["sitk_stuff"]
        result = sitk.GetImageFromArray(labels[0] if len(header["spacing"]) == 2 else labels)
        result.SetSpacing(header["spacing"])
        result.SetOrigin(header["origin"])
        result.SetDirection(header["direction"])
        return result

    def _position(self, image: ReadImage) -> Mapping[str, Any]:
        header = image.header["sitk_stuff"]
        return {key: header[key] for key in ("origin", "direction")}


class ItkReoriented(Itk):
    """The same, turned to RAS for the network and back afterwards (nnU-Net's SimpleITKIOWithReorient)."""

    def _load(self, file: Path) -> tuple[sitk.Image, dict[str, Any]]:
        image = sitk.ReadImage(str(file))
        orientation = sitk.DICOMOrientImageFilter_GetOrientationFromDirectionCosines(image.GetDirection())
        return sitk.DICOMOrient(image, "RAS"), {"original_orientation": orientation}

    def _image(self, labels: NDArray[Any], image: ReadImage) -> sitk.Image:
        result = super()._image(labels.astype(np.uint8, copy=False), image)  # as there
        return sitk.DICOMOrient(result, image.header["sitk_stuff"]["original_orientation"])
