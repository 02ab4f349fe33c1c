"""Writing a dataset folder in nnU-Net's raw format: whole or not at all."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from nnunetv2.dataset_conversion.generate_dataset_json import generate_dataset_json
from nnunetv2.paths import nnUNet_preprocessed, nnUNet_raw
from nnunetv2.utilities.dataset_name_id_conversion import find_candidate_datasets

from nnunet_pyconv.errors import InputError


@dataclass(frozen=True)
class Dataset:
    """What the dataset folder and its `dataset.json` say.

    Attributes:
        dataset_id: nnU-Net's dataset ID, unless the user chooses another.
        name: Name of the dataset.
        channel_name: Name of the one channel; it decides the normalisation (`CT`, or z-score for others).
        file_ending: `.png` or `.tif`.
        description: What the data are.
        reference: Where they come from.
        licence: Under which terms.
    """

    dataset_id: int
    name: str
    channel_name: str
    file_ending: str
    description: str
    reference: str
    licence: str


def dataset_folder(dataset_id: int, name: str, *, source: Path, overwrite: bool) -> Path:
    """Return the folder `nnUNet_raw/DatasetXXX_name` that a conversion may write.

    Args:
        dataset_id: nnU-Net's dataset ID.
        name: Name of the dataset.
        source: What is converted; it may not lie in the folder that is replaced.
        overwrite: Whether the folder may exist.

    Raises:
        InputError: `nnUNet_raw` unset, an ID outside 1 to 999 or taken under another name, a folder that
            exists while `overwrite` is false, or one that holds the source.
    """
    if not nnUNet_raw.get():
        raise InputError(
            "the environment variable nnUNet_raw is not set, so there is no place for the dataset; "
            "set it to a folder, for example: export nnUNet_raw=$HOME/nnUNet_raw"
        )
    if not 1 <= dataset_id <= 999:
        raise InputError(f"dataset ID {dataset_id} is not between 1 and 999; choose another with -d")
    folder_name = f"Dataset{dataset_id:03d}_{name}"
    others = [str(other) for other in find_candidate_datasets(dataset_id) if other != folder_name]
    if others:
        raise InputError(
            f"dataset ID {dataset_id} is taken by {', '.join(others)} in your nnU-Net folders; "
            f"choose another ID for {name} with -d"
        )
    folder = Path(nnUNet_raw.require()) / folder_name
    if source.resolve().is_relative_to(folder.resolve()):
        raise InputError(f"the source {source} lies in {folder}, the folder to be written; move it elsewhere")
    if folder.exists() and not overwrite:
        raise InputError(f"{folder} exists already; choose another ID with -d, or replace it with --overwrite")
    return folder


def preprocessed_before(folder: Path) -> Path | None:
    """Return the folder of an earlier dataset of this name in `nnUNet_preprocessed`, or None: it is out of date now."""
    base = nnUNet_preprocessed.get()
    earlier = Path(base) / folder.name if base else None
    return earlier if earlier is not None and earlier.exists() else None


def write_dataset_json(folder: Path, dataset: Dataset, *, protocol: str, foreground: str, num_training: int) -> None:
    """Write nnU-Net's `dataset.json`.

    Args:
        folder: The dataset folder.
        dataset: What it says.
        protocol: How the cases are split, added to the description.
        foreground: Name of label 1.
        num_training: Cases in `imagesTr`.
    """
    generate_dataset_json(
        str(folder),
        channel_names={"0": dataset.channel_name},
        labels={"background": 0, foreground: 1},
        num_training_cases=num_training,
        file_ending=dataset.file_ending,
        description=f"{dataset.description} Protocol: {protocol}.",
        reference=dataset.reference,
        license=dataset.licence,
        converted_by="nnunet-pyconv",
    )
