"""The matrix: which datasets, networks and recipes there are, and the cells of a request."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from nnunetv2.paths import nnUNet_preprocessed, nnUNet_raw, nnUNet_results

from nnunet_pyconv.dataset_conversion.registry import load_converter
from nnunet_pyconv.errors import InputError
from nnunet_pyconv.names import RECIPES
from nnunet_pyconv.reproduction.cell import BEST, FINAL, Cell
from nnunet_pyconv.reproduction.preparation import Preparation
from nnunet_pyconv.reproduction.trainer import find_trainer
from nnunet_pyconv.trainers import nnUNetTrainerPyConvPaper
from nnunet_pyconv.trainers.seed import SeededTrainer


@dataclass(frozen=True)
class Request:
    """What to reproduce.

    Attributes:
        datasets: Keys of `paper.DATASETS`.
        networks: Keys of `paper.NETWORKS`.
        recipe: Key of `names.RECIPES`.
        folds: Of `names.FOLDS`.
        trainer: A trainer instead of the recipe's, for example one with fewer epochs; None for the recipe's.
        device: nnU-Net's `-device`.
        num_gpus: nnU-Net's `-num_gpus`.
        num_processes: nnU-Net's `-np`.
        seed: See `SeededTrainer`; None for none.
        target_spacing: See `Preparation`; None keeps the images as they are.
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
    target_spacing: tuple[float, ...] | None = None


def datasets_of(request: Request) -> list[Preparation]:
    """The datasets of a request, each to be prepared once; some may not be converted yet.

    Raises:
        InputError: A folder of nnU-Net that isn't set, a dataset that is converted twice, or was converted again after
            it was preprocessed.
    """
    for name, folder in (
        ("nnUNet_raw", nnUNet_raw),
        ("nnUNet_preprocessed", nnUNet_preprocessed),
        ("nnUNet_results", nnUNet_results),
    ):
        if not folder.get():
            raise InputError(f"{name} is not set; set it to a folder, for example: export {name}=$HOME/{name}")
    datasets = [
        Preparation(_folder_name(name), name, request.num_processes, request.target_spacing)
        for name in request.datasets
    ]
    for dataset in datasets:
        _require_of_this_dataset(dataset, dataset.preprocessed / "dataset.json")
    return datasets


def cells_of(request: Request, datasets: Sequence[Preparation]) -> list[Cell]:
    """The cells of a request, dataset by dataset.

    The paper's recipe keeps its best epoch, which validates and predicts; nnU-Net's does both with the last.

    Raises:
        InputError: A trainer that isn't there or takes no seed, a fold that a dataset doesn't have, or a cell that was
            trained with another seed or on an earlier conversion of its dataset.
    """
    trainer = request.trainer or RECIPES[request.recipe]
    trainer_class = find_trainer(trainer)
    if request.seed is not None and not issubclass(trainer_class, SeededTrainer):
        raise InputError(f"--seed {request.seed}: {trainer} takes no seed; give none, or a trainer of nnunet-pyconv")
    for dataset in datasets:
        _require_folds(dataset, request.folds)
    cells = [
        Cell(
            preparation=dataset,
            network=network,
            fold=fold,
            trainer=trainer,
            checkpoint=BEST if issubclass(trainer_class, nnUNetTrainerPyConvPaper) else FINAL,
            device=request.device,
            num_gpus=request.num_gpus,
            seed=request.seed,
        )
        for dataset in datasets
        for network in request.networks
        for fold in request.folds
    ]
    for cell in cells:
        _require_of_this_dataset(cell.preparation, cell.folder.parent / "dataset.json")
        if request.seed is not None and cell.is_started and cell.seed_used != request.seed:
            before = "without a seed" if cell.seed_used is None else f"with --seed {cell.seed_used}"
            raise InputError(
                f"{cell} was trained {before}, and now it is --seed {request.seed}; give the same, remove "
                f"{cell.folder}, or set nnUNet_results to another folder"
            )
    return cells


def _require_folds(dataset: Preparation, folds: Sequence[str]) -> None:
    """Raise an InputError for folds other than those that a dataset brings along, as one of the paper's split does.

    nnU-Net would train them on a random split, and `all` on everything: test images among it.
    """
    given = dataset.num_folds_given
    if given is None:
        return
    if others := [fold for fold in folds if fold == "all" or int(fold) >= given]:
        raise InputError(
            f"-f {' '.join(others)}: {dataset} was converted with --protocol paper, whose test images are in "
            f"imagesTr, and has fold {', '.join(map(str, range(given)))} alone; others would train on them. Give "
            "-f 0, or convert it with --protocol clean"
        )


def _require_of_this_dataset(dataset: Preparation, copy: Path) -> None:
    """Raise an InputError where nnU-Net's copy of `dataset.json` tells of an earlier conversion."""
    original = dataset.raw / "dataset.json"
    if not (copy.is_file() and original.is_file()):
        return
    converted, used = (_read_dataset_json(file) for file in (original, copy))
    if used != converted:
        raise InputError(
            f"{copy.parent} was made from an earlier conversion of {dataset}: its dataset.json is another; remove that "
            "folder, or set nnUNet_preprocessed and nnUNet_results to other folders"
        )


def _read_dataset_json(file: Path) -> dict[str, Any]:
    """What a dataset says about its images; its description names the protocol."""
    try:
        content: dict[str, Any] = json.loads(file.read_text())
        return {key: content[key] for key in content.keys() - {"licence", "reference"}}
    except (ValueError, AttributeError) as error:
        raise InputError(
            f"{file} is damaged ({error}); put the dataset.json there that the dataset has in the other of nnU-Net's "
            "folders"
        ) from error


def _folder_name(name: str) -> str:
    """The name of the dataset folder, whatever ID it was given."""
    dataset = load_converter(name).DESCRIPTION
    base = Path(nnUNet_raw.require())
    found = sorted(folder.name for folder in base.glob(f"Dataset[0-9][0-9][0-9]_{dataset.name}"))
    if len(found) > 1:
        raise InputError(f"{base} has {' and '.join(found)}; expected one, remove the other")
    return found[0] if found else f"Dataset{dataset.dataset_id}_{dataset.name}"
