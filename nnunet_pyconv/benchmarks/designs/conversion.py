"""The data sets of the comparison in nnU-Net's raw format, with test cases set aside."""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory

from nnunet_pyconv.dataset_conversion.conversion import convert
from nnunet_pyconv.dataset_conversion.folder.convert import convert_folder
from nnunet_pyconv.dataset_conversion.folder.label_options import coding_of
from nnunet_pyconv.dataset_conversion.folder.request import FolderRequest
from nnunet_pyconv.dataset_conversion.registry import CONVERTERS, load_converter
from nnunet_pyconv.errors import InputError
from nnunet_pyconv.nnunet_folders import nnunet_folder


def converted(key: str, source: Path) -> Path:
    """Return the dataset folder of a data set, converted unless that is done.

    Args:
        key: Of the data set.
        source: Its folder.

    Raises:
        InputError: The source is not there or can't be converted, or `nnUNet_raw` is not set.
    """
    if key not in CONVERTERS:
        return _hippocampus(source)
    converter = load_converter(key)
    description = converter.DESCRIPTION
    target = nnunet_folder("nnUNet_raw") / f"Dataset{description.dataset_id:03d}_{description.name}"
    if not target.exists():
        convert(converter, source, num_processes=1)
    return target


def _hippocampus(source: Path) -> Path:
    """Convert Task04 of the Medical Segmentation Decathlon, without the volumes that lack image or labels."""
    target = nnunet_folder("nnUNet_raw") / "Dataset004_Hippocampus"
    if target.exists():
        return target
    images, labels = ({file.name: file for file in (source / name).glob("*.nii.gz")} for name in ("images", "labels"))
    if not images.keys() & labels.keys():
        raise InputError(f"{source} has no images/NAME.nii.gz with labels/NAME.nii.gz; expected those of Task04")
    with TemporaryDirectory() as paired:
        for name, files in (("images", images), ("labels", labels)):
            (Path(paired) / name).mkdir()
            for file in images.keys() & labels.keys():
                (Path(paired) / name / file).symlink_to(files[file].absolute())
        return convert_folder(
            FolderRequest(
                Path(paired) / "images",
                Path(paired) / "labels",
                dataset_id=4,
                name="Hippocampus",
                coding=coding_of(labels=["background=0", "anterior=1", "posterior=2"]),
                channels=("MRI",),
                test_fraction=0.2,
                num_processes=1,
            )
        )
