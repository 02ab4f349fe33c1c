"""The data sets of the comparison, planned and preprocessed once."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from batchgenerators.utilities.file_and_folder_operations import load_json
from nnunetv2.experiment_planning.plan_and_preprocess_api import (
    extract_fingerprint_dataset,
    plan_experiment_dataset,
    preprocess_dataset,
)

from nnunet_pyconv.benchmarks.designs.conversion import converted
from nnunet_pyconv.benchmarks.designs.design import ComparedDesign
from nnunet_pyconv.errors import InputError
from nnunet_pyconv.nnunet_folders import dataset_id, nnunet_folder


@dataclass(frozen=True)
class ComparedDataset:
    """A data set, and the size at which the designs are compared on it.

    Attributes:
        key: The name in the rows.
        folder: Of the source below the folder of the data.
        spacing: Target spacing, for training at a lower resolution; None for the images' own.
        patch_size: Of a training patch, in pixels; of two axes, or three.
        batch_size: Patches a step.
        surface_tolerance: Of the normalised surface Dice, in pixels of the images, or in mm of volumes.
    """

    key: str
    folder: str
    spacing: tuple[float, ...] | None
    patch_size: tuple[int, ...]
    batch_size: int
    surface_tolerance: float = 2.0

    @property
    def configuration(self) -> str:
        """nnU-Net's configuration that is trained."""
        return "2d" if len(self.patch_size) == 2 else "3d_fullres"

    @property
    def plans_name(self) -> str:
        """Of the stock plans that all designs start from."""
        return "nnUNetPlans" if self.spacing is None else f"nnUNetPlans_{self.spacing[-1]:g}px"


COMPARED_DATASETS = {
    compared.key: compared
    for compared in (
        ComparedDataset("isbi_cell", "isbi2012", None, (128, 128), 4),
        ComparedDataset("kaggle_lung", "kaggle_lung", (999.0, 2.0, 2.0), (128, 128), 4),
        ComparedDataset("liver", "liver", (999.0, 2.0, 2.0), (128, 128), 4),
        ComparedDataset("hippocampus", "hippocampus", None, (40, 56, 40), 2, surface_tolerance=1.0),  # nnU-Net's patch
    )
}


@dataclass(frozen=True)
class PreparedDataset:
    """A data set in nnU-Net's folders.

    Attributes:
        compared: The data set.
        dataset: Its full name.
    """

    compared: ComparedDataset
    dataset: str

    @property
    def raw(self) -> Path:
        """The raw folder."""
        return nnunet_folder("nnUNet_raw") / self.dataset

    @property
    def dataset_json(self) -> dict[str, Any]:
        """nnU-Net's `dataset.json`."""
        content: dict[str, Any] = load_json(str(self.raw / "dataset.json"))
        return content

    def plans(self, design: ComparedDesign) -> dict[str, Any]:
        """The plans of nnU-Net with the patch and the batch of the comparison, and the network of a design."""
        preprocessed = nnunet_folder("nnUNet_preprocessed") / self.dataset
        plans: dict[str, Any] = load_json(str(preprocessed / f"{self.compared.plans_name}.json"))
        planned = plans["configurations"][self.compared.configuration]
        planned |= {
            "patch_size": list(self.compared.patch_size),
            "batch_size": self.compared.batch_size,
            "architecture": design.architecture(self.compared.patch_size),
        }
        plans |= {"plans_name": design.name, "configurations": {self.compared.configuration: planned}}
        return plans

    def test_images(self) -> list[list[str]]:
        """The files of the unseen test cases, one list a case."""
        return [[str(file)] for file in sorted((self.raw / "imagesTs").iterdir())]


def prepare(compared: ComparedDataset, source: Path) -> PreparedDataset:
    """Convert, plan and preprocess a data set, unless that is done.

    Args:
        compared: The data set.
        source: The folder that has `compared.folder`.

    Raises:
        InputError: The source is not there or can't be converted, a folder of nnU-Net is not set, or it has this
            dataset already, without test cases.
    """
    prepared = PreparedDataset(compared, converted(compared.key, source / compared.folder).name)
    if not (prepared.raw / "imagesTs").is_dir():
        raise InputError(f"{prepared.raw} has no imagesTs to score; set nnUNet_raw to a folder of its own")
    number = dataset_id(prepared.dataset)
    folder = nnunet_folder("nnUNet_preprocessed") / prepared.dataset
    data = folder / f"{compared.plans_name}_{compared.configuration}"
    if not data.exists() or len(list(data.glob("*.pkl"))) < prepared.dataset_json["numTraining"]:
        extract_fingerprint_dataset(number, num_processes=1)
        plan_experiment_dataset(
            number, overwrite_target_spacing=compared.spacing, overwrite_plans_name=compared.plans_name
        )
        preprocess_dataset(number, compared.plans_name, configurations=[compared.configuration], num_processes=[1])
    return prepared
