"""Which reader a model needs, and what has to be installed for it."""

from __future__ import annotations

import importlib
import importlib.util
from typing import TYPE_CHECKING, NamedTuple

from nnunet_pyconv.runtime.description import ReaderName

if TYPE_CHECKING:
    from nnunet_pyconv.runtime.readers.base import Reader


class _Source(NamedTuple):
    module: str
    name: str
    packages: dict[str, str]


_ALL = {"numpy": "numpy", "scipy": "scipy", "onnxruntime": "onnxruntime"}
_PNG = {"imageio": "imageio", "PIL": "pillow"}
_TIFF = {"tifffile": "tifffile"}
_ITK = {"SimpleITK": "SimpleITK"}
_NIBABEL = {"nibabel": "nibabel"}

_READERS: dict[ReaderName, _Source] = {
    "NaturalImage2DIO": _Source("natural_image", "NaturalImage", _PNG),
    "SimpleITKIO": _Source("sitk", "Itk", _ITK),
    "SimpleITKIOWithReorient": _Source("sitk", "ItkReoriented", _ITK),
    "Tiff3DIO": _Source("tiff", "Tiff3D", _TIFF),
    "NibabelIO": _Source("nifti", "Nifti", _NIBABEL),
    "NibabelIOWithReorient": _Source("nifti", "NiftiReoriented", _NIBABEL),
}
"""By the name of nnU-Net's class."""
_BY_ENDING: dict[tuple[ReaderName, str], _Source] = {
    ("NaturalImage2DIO", ".tif"): _Source("natural_image", "NaturalImage", _TIFF),
    ("NaturalImage2DIO", ".tiff"): _Source("natural_image", "NaturalImage", _TIFF),
    ("SimpleITKIO", ".nii"): _Source("itk_nifti", "ItkNifti", _NIBABEL),
    ("SimpleITKIO", ".nii.gz"): _Source("itk_nifti", "ItkNifti", _NIBABEL),
}
"""Files for which that reader needs less."""


def missing_packages(reader: ReaderName, file_ending: str) -> list[str]:
    """List, by their names for pip, the packages that a model needs and that are not installed."""
    needed = _ALL | _source(reader, file_ending).packages
    return [package for module, package in needed.items() if importlib.util.find_spec(module) is None]


def reader_named(name: ReaderName, file_ending: str) -> Reader:
    """Make the reader that stands for nnU-Net's of that name."""
    source = _source(name, file_ending)
    module = importlib.import_module(f"nnunet_pyconv.runtime.readers.{source.module}")
    reader: Reader = getattr(module, source.name)()
    return reader


def _source(reader: ReaderName, file_ending: str) -> _Source:
    return _BY_ENDING.get((reader, file_ending.lower()), _READERS[reader])
