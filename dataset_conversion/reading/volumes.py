"""NIfTI, NRRD and MetaImage."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from nnunet_pyconv.dataset_conversion.reading.failures import reading
from nnunet_pyconv.dataset_conversion.reading.raster import Geometry, Raster
from nnunet_pyconv.errors import InputError


def read_volume(path: Path) -> Raster:
    """Read a volume.

    Returns:
        `(Y, X)` or `(Z, Y, X)`, or `(channels, Z, Y, X)` of a file with four axes; the geometry is that of the last
        two or three.

    Raises:
        InputError: As `read`; several values a voxel (vectors, colours).
    """
    import SimpleITK  # takes as long to import as all else that converting pictures needs

    if not path.is_file():  # SimpleITK's own message has ten lines
        raise InputError(f"can't read {path}: no such file")
    with reading(path, "NIfTI, NRRD or MetaImage"):
        if path.name.lower().endswith((".nii", ".nii.gz")):
            _require_whole_nifti(path)
        image = SimpleITK.ReadImage(str(path))
    components, axes = image.GetNumberOfComponentsPerPixel(), image.GetDimension()
    if components > 1:
        raise InputError(
            f"{path} has {components} values a voxel; expected one, save each as a file or as a fourth axis"
        )
    if axes > 4:
        raise InputError(f"{path} has {axes} axes; expected up to three in space and one of channels")
    spatial = min(axes, 3)
    direction = image.GetDirection()
    return Raster(
        SimpleITK.GetArrayFromImage(image),
        geometry=Geometry(
            image.GetSpacing()[:spatial],
            image.GetOrigin()[:spatial],
            tuple(direction[row * axes + column] for row in range(spatial) for column in range(spatial)),
        ),
    )


def _require_whole_nifti(path: Path) -> None:
    """Raise what nibabel raises for a truncated file: SimpleITK fills what is missing with zeros, in silence."""
    import nibabel

    image: Any = nibabel.load(path)
    image.dataobj.get_unscaled()
