"""A dataset in nnU-Net's raw format: what it is to hold, and where it goes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from batchgenerators.utilities.file_and_folder_operations import load_json
from nnunetv2.dataset_conversion.generate_dataset_json import generate_dataset_json
from nnunetv2.utilities.dataset_name_id_conversion import find_candidate_datasets

from nnunet_pyconv.dataset_conversion.cases import Case
from nnunet_pyconv.dataset_conversion.reading import VOLUME_ENDINGS
from nnunet_pyconv.dataset_conversion.splits import Fold
from nnunet_pyconv.errors import InputError
from nnunet_pyconv.nnunet_folders import nnunet_folder, nnunet_folder_if_set
from nnunet_pyconv.writing import check_target


@dataclass(frozen=True)
class DatasetContent:
    """What a dataset folder is to hold.

    Attributes:
        channels: Names of the channels; they decide the normalisation.
        classes: Names of the labels 0, 1, ...; nnU-Net's name for pixels that do not count is `ignore`.
        file_ending: Of images and labels.
        text: What the data are.
        reference: Where they come from.
        licence: Under which terms.
        training: The cases of `imagesTr` and `labelsTr`.
        test: The cases of `imagesTs` and, where they have labels, `labelsTs`.
        unlabelled: The cases of `imagesChallenge`, which nnU-Net leaves alone.
        folds: What `splits_final.json` says; empty for nnU-Net's own folds.
    """

    channels: tuple[str, ...]
    classes: tuple[str, ...]
    file_ending: str
    text: str
    reference: str
    licence: str
    training: Sequence[Case]
    test: Sequence[Case] = ()
    unlabelled: Sequence[Case] = ()
    folds: Sequence[Fold] = field(default=())

    def write_json(self, folder: Path, num_training: int) -> None:
        """Write nnU-Net's `dataset.json`.

        Args:
            folder: The dataset folder.
            num_training: How many cases were written to `imagesTr`.
        """
        generate_dataset_json(
            str(folder),
            channel_names={str(number): name for number, name in enumerate(self.channels)},
            labels={name: number for number, name in enumerate(self.classes)},
            num_training_cases=num_training,
            file_ending=self.file_ending,
            description=self.text,
            reference=self.reference,
            license=self.licence,
            converted_by="nnunet-pyconv",
        )


def dataset_folder(dataset_id: int, name: str, *, sources: Sequence[Path], overwrite: bool) -> Path:
    """Return the folder `nnUNet_raw/DatasetXXX_name` that a conversion may write.

    Args:
        dataset_id: nnU-Net's dataset ID.
        name: Name of the dataset.
        sources: What is converted; none of it may lie in the folder that is replaced.
        overwrite: Whether the folder may exist.

    Raises:
        InputError: `nnUNet_raw` unset, an ID outside 1 to 999 or taken under another name, a folder that holds a
            source, or what `check_target` refuses.
    """
    base = nnunet_folder("nnUNet_raw")
    if not 1 <= dataset_id <= 999:
        raise InputError(f"dataset ID {dataset_id} is not between 1 and 999; choose another with -d")
    folder_name = f"Dataset{dataset_id:03d}_{name}"
    others = [str(other) for other in find_candidate_datasets(dataset_id) if other != folder_name]
    if others:
        raise InputError(
            f"dataset ID {dataset_id} is taken by {', '.join(others)} in your nnU-Net folders; "
            f"choose another ID for {name} with -d"
        )
    folder = base / folder_name
    check_target(folder, overwrite=overwrite)
    for source in sources:
        if source.resolve().is_relative_to(folder.resolve()):
            raise InputError(f"the source {source} lies in {folder}, the folder to be written; move it elsewhere")
    return folder


def preprocessed_before(folder: Path) -> Path | None:
    """Return the folder of an earlier dataset of this name in `nnUNet_preprocessed`, or None: it is out of date now."""
    base = nnunet_folder_if_set("nnUNet_preprocessed")
    earlier = base / folder.name if base else None
    return earlier if earlier is not None and earlier.exists() else None


def holds_volumes(folder: Path) -> bool:
    """Whether the images of a dataset folder are volumes, and no pictures."""
    ending = load_json(str(folder / "dataset.json"))["file_ending"]
    return ending in VOLUME_ENDINGS
