"""NIfTI by nibabel as SimpleITK reads and writes it (nnU-Net's SimpleITKIO): that library is larger than all others."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
from numpy.typing import NDArray

from nnunet_pyconv.runtime.errors import InputError
from nnunet_pyconv.runtime.readers.base import FLAT, Reader, ReadImage

_MM = {"micron": 1e-3, "meter": 1e3}
_SCANNER = 1
"""The code of an affine matrix that leads to the scanner's coordinates."""
_TO_LPS = np.array([-1.0, -1.0, 1.0])
"""NIfTI's x and y point the other way than ITK's."""
_TOLERANCE = 1e-4
"""ITK's, of what it takes for a right angle."""


class ItkNifti(Reader):
    """2D and 3D NIfTI."""

    def _read_file(self, file: Path) -> ReadImage:
        image: Any = nibabel.load(file)
        if type(image) is not nibabel.Nifti1Image:
            raise InputError(f"{file} is a {type(image).__name__}; expected NIfTI-1, as SimpleITK does")
        array = np.asarray(image.dataobj)
        while array.ndim > 3 and array.shape[-1] == 1:
            array = array[..., 0]
        if array.ndim not in (2, 3) or array.dtype.kind not in "iuf":
            raise InputError(
                f"{file} has {array.ndim} axes of {array.dtype}; expected 2 or 3 axes of real numbers, and a file for "
                "each channel"
            )
        header = _geometry(image.header, array.ndim, file)
        spacing = [abs(size) for size in header["spacing"]][::-1]
        if array.ndim == 2:
            array, spacing = array[..., None], [FLAT * max(spacing), *spacing]
        return ReadImage(array.T[None], spacing, {"sitk_stuff": header})

    def _write_file(self, labels: NDArray[Any], file: Path, image: ReadImage) -> None:
        header = image.header["sitk_stuff"]
        spacing = header["spacing"]
        axes = len(spacing)
        affine = np.eye(4)
        affine[:axes, :axes] = np.reshape(header["direction"], (axes, axes)) * spacing
        affine[:axes, 3] = header["origin"]
        affine[:3] *= _TO_LPS[:, None]
        if axes == 2:
            labels, affine[2, 2] = labels[0], 1
        result: Any = nibabel.Nifti1Image(labels.T, affine)
        result.set_qform(affine, _SCANNER)
        result.set_sform(affine, _SCANNER)
        result.header["pixdim"][1 : axes + 1] = spacing  # more exact than from the matrix
        result.header.set_xyzt_units("mm")
        nibabel.save(result, file)

    def _position(self, image: ReadImage) -> Mapping[str, Any]:
        header = image.header["sitk_stuff"]
        return {key: header[key] for key in ("origin", "direction")}


def _geometry(header: Any, axes: int, file: Path) -> dict[str, Sequence[float]]:
    """Spacing, origin and direction as SimpleITK tells them, in its order x, y, z."""
    unit = _MM.get(header.get_xyzt_units()[0], 1.0)
    matrix = _matrix(header, file)
    direction = (_TO_LPS[:, None] * matrix[:3, :3])[:axes, :axes]
    if np.linalg.det(direction) == 0:
        raise InputError(f"{file} has a slice whose axes fall into one, which SimpleITK refuses, too; resample it")
    direction = direction / np.linalg.norm(direction, axis=0)
    return {
        "spacing": tuple(unit * float(size) for size in header["pixdim"][1 : axes + 1]),
        "origin": tuple(map(float, (unit * _TO_LPS * matrix[:3, 3])[:axes])),
        "direction": tuple(map(float, direction.flat)),
    }


def _matrix(header: Any, file: Path) -> NDArray[np.float64]:
    """Choose between the two matrices of NIfTI as ITK does (NiftiImageIO::SetImageIOOrientationFromNIfTI)."""
    sform, sform_code = header.get_sform(coded=True)
    qform, _ = header.get_qform(coded=True)
    if sform is None and qform is None:
        return np.diag([-1.0, -1.0, 1.0, 1.0])
    # ITK prefers a sform that is almost the qform, too; which of them it is makes no difference then
    preferred = qform is None or sform_code == _SCANNER
    if sform is not None and preferred and _is_orthogonal(sform):
        return np.asarray(sform)
    if qform is None:
        raise InputError(f"{file} has axes that are not at right angles, which SimpleITK refuses, too; resample it")
    return np.asarray(qform)


def _is_orthogonal(matrix: NDArray[np.float64]) -> bool:
    with np.errstate(invalid="ignore"):  # an axis without length is at no angle
        axes = matrix[:3, :3] / np.linalg.norm(matrix[:3, :3], axis=0)
    return bool(np.allclose(axes @ axes.T, np.eye(3), rtol=0, atol=_TOLERANCE))
