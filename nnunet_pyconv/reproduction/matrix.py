"""The matrix: which datasets, networks and recipes there are, and the cells of a request."""

from __future__ import annotations

import importlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from nnunetv2.paths import nnUNet_preprocessed, nnUNet_raw, nnUNet_results

from nnunet_pyconv.errors import InputError
from nnunet_pyconv.reproduction.cell import BEST, FINAL, Cell
from nnunet_pyconv.reproduction.preparation import Preparation

DATASETS = ("isbi_cell", "kaggle_lung", "liver")  # converters of dataset_conversion
PAPER_NETWORKS = ("pyconv_unet", "unet", "unet_plus_plus", "resnet34_unet", "attention_unet", "fcn8s")  # of its Table 2
NETWORKS = (*PAPER_NETWORKS, "multires_unet")
FOLDS = ("0", "1", "2", "3", "4", "all")

# the trainer, and the checkpoint that predicts
RECIPES = {"paper": ("nnUNetTrainerPyConvPaper", BEST), "nnunet": ("nnUNetTrainerPyConv", FINAL)}


@dataclass(frozen=True)
class Request:
    """What to reproduce.

    Attributes:
        datasets: Keys of `DATASETS`.
        networks: Keys of `NETWORKS`.
        recipe: Key of `RECIPES`.
        folds: Of `FOLDS`.
        trainer: A trainer instead of the recipe's, for example one with fewer epochs; None for the recipe's.
        device: nnU-Net's `-device`.
        num_gpus: nnU-Net's `-num_gpus`.
        num_processes: nnU-Net's `-np`.
        seed: See `SeededTrainer`; None for none.
    """

    datasets: Sequence[str]
    networks: Sequence[str]
    recipe: str
    folds: Sequence[str]
    trainer: str | None
    device: str
    num_gpus: int
    num_processes: int
    seed: int | None


def datasets_of(request: Request) -> list[Preparation]:
    """The datasets of a request, each to be prepared once.

    Raises:
        InputError: A folder of nnU-Net that isn't set, or a dataset that isn't converted.
    """
    for name, folder in (
        ("nnUNet_raw", nnUNet_raw),
        ("nnUNet_preprocessed", nnUNet_preprocessed),
        ("nnUNet_results", nnUNet_results),
    ):
        if not folder.get():
            raise InputError(f"{name} is not set; set it to a folder, for example: export {name}=$HOME/{name}")
    return [Preparation(_converted(name), request.num_processes) for name in request.datasets]


def cells_of(request: Request, datasets: Sequence[Preparation]) -> list[Cell]:
    """The cells of a request, dataset by dataset.

    Raises:
        InputError: A cell that was trained with another seed.
    """
    trainer, checkpoint = RECIPES[request.recipe]
    cells = [
        Cell(
            preparation=dataset,
            network=network,
            fold=fold,
            trainer=request.trainer or trainer,
            checkpoint=checkpoint,
            device=request.device,
            num_gpus=request.num_gpus,
            seed=request.seed,
        )
        for dataset in datasets
        for network in request.networks
        for fold in request.folds
    ]
    if request.seed is not None:
        for cell in cells:
            if cell.seed_used not in (None, request.seed):
                raise InputError(
                    f"{cell} was trained with --seed {cell.seed_used}, and now it is {request.seed}; give the same "
                    f"seed, remove {cell.folder}, or set nnUNet_results to another folder"
                )
    return cells


def _converted(name: str) -> str:
    """The name of the dataset folder, whatever ID it was given."""
    dataset = importlib.import_module(f"nnunet_pyconv.dataset_conversion.{name}").DATASET
    base = Path(nnUNet_raw.require())
    found = sorted(folder.name for folder in base.glob(f"Dataset[0-9][0-9][0-9]_{dataset.name}"))
    if not found:
        raise InputError(
            f"{base} has no Dataset{dataset.dataset_id}_{dataset.name}; convert it first: "
            f"nnunet_pyconv convert {name} -i SRC --protocol paper"
        )
    if len(found) > 1:
        raise InputError(f"{base} has {' and '.join(found)}; expected one, remove the other")
    return found[0]
