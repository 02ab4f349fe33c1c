"""nnU-Net's folders: where raw data, preprocessed data and results lie, and what their names say."""

from __future__ import annotations

import contextlib
import io
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, get_args
from unittest import mock

from nnunetv2.paths import nnUNet_preprocessed, nnUNet_raw, nnUNet_results
from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer
from nnunetv2.utilities.dataset_name_id_conversion import (
    convert_dataset_name_to_id,
    find_candidate_datasets,
    maybe_convert_to_dataset_name,
)
from nnunetv2.utilities.file_path_utilities import get_output_folder
from nnunetv2.utilities.find_objects import recursive_find_trainer_class_by_name

from nnunet_pyconv.errors import InputError
from nnunet_pyconv.trainer_dir import TRAINER_DIR

Variable = Literal["nnUNet_raw", "nnUNet_preprocessed", "nnUNet_results"]
VARIABLES: tuple[Variable, ...] = get_args(Variable)

_FOLDERS = {
    "nnUNet_raw": nnUNet_raw,
    "nnUNet_preprocessed": nnUNet_preprocessed,
    "nnUNet_results": nnUNet_results,
}


def nnunet_folder(variable: Variable) -> Path:
    """Return one of nnU-Net's three folders.

    Raises:
        InputError: The environment variable is not set.
    """
    folder = nnunet_folder_if_set(variable)
    if folder is None:
        raise InputError(
            f"the environment variable {variable} is not set; set it to a folder, for example: "
            f"export {variable}=$HOME/{variable}"
        )
    return folder


def nnunet_folder_if_set(variable: Variable) -> Path | None:
    """Return one of nnU-Net's three folders, or None where the environment variable is not set."""
    path = _FOLDERS[variable].get()
    return Path(path) if path else None


def dataset_name(name_or_id: str | int) -> str:
    """Return the full name of a dataset, for example `Dataset312_ISBICell`.

    Args:
        name_or_id: As nnU-Net takes it: `312`, `"312"` or `"Dataset312_ISBICell"`.

    Raises:
        InputError: No dataset of that ID in any of nnU-Net's folders, or more than one.
    """
    try:
        return str(maybe_convert_to_dataset_name(name_or_id))
    except (RuntimeError, ValueError) as error:
        found = find_candidate_datasets(int(name_or_id)) if str(name_or_id).isdigit() else []
        raise InputError(
            f"dataset {name_or_id!r} "
            + (f"is more than one: {', '.join(found)}" if len(found) else "not found in your nnU-Net folders")
            + "; give an ID or a name such as 312 or Dataset312_ISBICell, and check nnUNet_raw, nnUNet_preprocessed "
            "and nnUNet_results"
        ) from error


def dataset_id(name: str) -> int:
    """Return the ID in the full name of a dataset: 312 for `Dataset312_ISBICell`."""
    return int(convert_dataset_name_to_id(name))


@dataclass(frozen=True)
class Setup:
    """What nnU-Net names a trained model after: `TRAINER__PLANS__CONFIGURATION`.

    Attributes:
        trainer: Name of the trainer class.
        plans: Name of the plans.
        configuration: Name of the configuration in the plans.
    """

    trainer: str
    plans: str
    configuration: str

    @classmethod
    def parse(cls, folder_name: str) -> Setup | None:
        """Read the name of a model's folder; None where it is not such a name."""
        parts = folder_name.split("__")
        return cls(*parts) if len(parts) == 3 and all(parts) and not folder_name.startswith(".") else None

    def __str__(self) -> str:
        return f"{self.trainer}__{self.plans}__{self.configuration}"

    def folder(self, dataset: str, fold: str | int | None = None) -> Path:
        """Return the model's folder in `nnUNet_results`, or that of one of its folds.

        Args:
            dataset: Full name of the dataset.
            fold: `0` to `4` or `all`; None for the model's folder.

        Raises:
            InputError: `nnUNet_results` is not set.
        """
        nnunet_folder("nnUNet_results")
        return Path(get_output_folder(dataset, self.trainer, self.plans, self.configuration, fold))


def with_our_trainers() -> dict[str, str]:
    """Return `nnUNet_extTrainer` as it has to be for nnU-Net to find our trainers beside the user's own."""
    others = os.environ.get("nnUNet_extTrainer", "").split(os.pathsep)  # noqa: SIM112  # nnU-Net's name
    folders = [str(TRAINER_DIR), *(folder for folder in others if folder and folder != str(TRAINER_DIR))]
    return {"nnUNet_extTrainer": os.pathsep.join(folders)}


def find_trainer(name: str) -> type[nnUNetTrainer]:
    """Find a trainer of nnU-Net, of this plugin, or in a folder of `nnUNet_extTrainer`.

    Raises:
        InputError: There is none of that name, or what lies in those folders can't be imported.
    """
    try:
        # the finder prints its search
        with mock.patch.dict(os.environ, with_our_trainers()), contextlib.redirect_stdout(io.StringIO()):
            trainer: type[nnUNetTrainer] = recursive_find_trainer_class_by_name(name)
    except Exception as error:  # the finder imports whatever lies in the folders
        raise InputError(
            f"nnU-Net finds no trainer {name}, neither among its own nor in nnUNet_extTrainer, or can't "
            f"import what lies there ({type(error).__name__}: {str(error).partition('. ')[0]}); expected one such as "
            "nnUNetTrainerPyConvPaper_5epochs, or put the folder of yours into nnUNet_extTrainer"
        ) from error
    return trainer
