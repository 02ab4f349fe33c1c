"""The experiment: which datasets, networks and recipes there are, and the runs of a request."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from nnunet_pyconv import paper
from nnunet_pyconv.dataset_conversion.registry import load_converter
from nnunet_pyconv.errors import InputError
from nnunet_pyconv.names import BEST_CHECKPOINT, FINAL_CHECKPOINT, RECIPES, STOCK_NNUNET, Protocol, Recipe
from nnunet_pyconv.nnunet_folders import Setup, dataset_id, find_trainer, nnunet_folder
from nnunet_pyconv.reproduction.preparation import Preparation
from nnunet_pyconv.reproduction.run import Run
from nnunet_pyconv.trainers import nnUNetTrainerPyConvPaper
from nnunet_pyconv.trainers.seed import SeededTrainer

STOCK_CONFIGURATION = "2d"  # nnU-Net's own, which the paper's plans have too


@dataclass(frozen=True)
class ExperimentRequest:
    """What to reproduce.

    Attributes:
        datasets: Keys of `paper.DATASETS`.
        networks: Keys of `paper.NETWORKS`, or `names.STOCK_NNUNET`.
        recipe: Of `names.RECIPES`.
        folds: Of `names.FOLDS`.
        device: nnU-Net's `-device`.
        num_processes: nnU-Net's `-np`.
        num_gpus: nnU-Net's `-num_gpus`.
        trainer: A trainer instead of the recipe's, for example one with fewer epochs; None for the recipe's.
        seed: See `SeededTrainer`; None for none.
        target_spacing: See `Preparation`; None keeps the images as they are.
        protocol: Which conversion, where a dataset is converted by both; None takes the one there is.
    """

    datasets: Sequence[str]
    networks: Sequence[str]
    recipe: Recipe
    folds: Sequence[str]
    device: str
    num_processes: int
    num_gpus: int = 1
    trainer: str | None = None
    seed: int | None = None
    target_spacing: tuple[float, ...] | None = None
    protocol: Protocol | None = None


def preparations_of(request: ExperimentRequest) -> list[Preparation]:
    """Return the datasets of a request, each to be prepared once; some may not be converted yet.

    Raises:
        InputError: A folder of nnU-Net that isn't set, a dataset that is converted twice, or was converted again after
            it was preprocessed.
    """
    for variable in ("nnUNet_preprocessed", "nnUNet_results"):
        nnunet_folder(variable)
    preparations = [
        Preparation(_folder_name(key, request.protocol), request.num_processes, request.target_spacing)
        for key in request.datasets
    ]
    for preparation in preparations:
        _require_of_this_dataset(preparation, preparation.preprocessed / "dataset.json")
    return preparations


def conversion_command(preparation: Preparation, request: ExperimentRequest) -> str:
    """Return the command that converts a dataset, for the user to name SRC; the paper's split has fold 0 alone."""
    known = next(dataset for dataset in paper.DATASETS if preparation.dataset.endswith(f"_{dataset.folder_name}"))
    protocol = request.protocol or ("paper" if list(request.folds) == ["0"] else "clean")
    number = dataset_id(preparation.dataset)
    flag = "" if number == _default_id(known.key) else f" -d {number}"
    return f"nnunet_pyconv convert {known.key} -i SRC --protocol {protocol}{flag}"


def runs_of(request: ExperimentRequest, preparations: Sequence[Preparation]) -> list[Run]:
    """Return the runs of a request, dataset by dataset.

    The paper's recipe keeps its best epoch, which validates and predicts; nnU-Net's does both with the last.

    Raises:
        InputError: A trainer that does not exist or takes no seed, a fold that a dataset doesn't have, or a run that
            was trained with another seed or on an earlier conversion of its dataset.
    """
    trainers = {network: _trainer(request, network) for network in request.networks}
    checkpoints = {trainer: _checkpoint(trainer, request.seed) for trainer in trainers.values()}
    for preparation in preparations:
        _require_folds(preparation, request.folds)
    runs = [
        Run(
            preparation=preparation,
            network=network,
            setup=Setup(trainer, preparation.plans, _configuration(network)),
            fold=fold,
            checkpoint=checkpoints[trainer],
            device=request.device,
            num_gpus=request.num_gpus,
            seed=request.seed,
        )
        for preparation in preparations
        for network, trainer in trainers.items()
        for fold in request.folds
    ]
    for run in runs:
        _require_of_this_dataset(run.preparation, run.folder.parent / "dataset.json")
        if request.seed is not None and run.is_started and run.seed_used != request.seed:
            before = "without a seed" if run.seed_used is None else f"with --seed {run.seed_used}"
            raise InputError(
                f"{run} was trained {before}, and now it is --seed {request.seed}; give the same, remove "
                f"{run.folder}, or set nnUNet_results to another folder"
            )
    return runs


def _trainer(request: ExperimentRequest, network: str) -> str:
    """The trainer of a network: stock nnU-Net takes nnU-Net's recipe, for as many images as the others see."""
    trainer = request.trainer or RECIPES[request.recipe]
    if network != STOCK_NNUNET:
        return trainer
    passes = paper.epochs_of(trainer)
    if passes is not None:
        return f"nnUNetTrainer_{passes}passes"
    if "PyConv" in trainer:
        raise InputError(
            f"--networks {STOCK_NNUNET} is nnU-Net's own network with its own recipe, and -tr {trainer} is not; give "
            f"one such as {paper.TRAINER}_5epochs, whose number of images it then sees, or nnUNetTrainer"
        )
    return trainer


def _checkpoint(trainer: str, seed: int | None) -> str:
    trainer_class = find_trainer(trainer)
    if seed is not None and not issubclass(trainer_class, SeededTrainer):
        raise InputError(f"--seed {seed}: {trainer} takes no seed; give none, or a trainer of nnunet-pyconv")
    return BEST_CHECKPOINT if issubclass(trainer_class, nnUNetTrainerPyConvPaper) else FINAL_CHECKPOINT


def _configuration(network: str) -> str:
    known = {each.key: each.configuration for each in paper.NETWORKS}
    return STOCK_CONFIGURATION if network == STOCK_NNUNET else known[network]


def _require_folds(preparation: Preparation, folds: Sequence[str]) -> None:
    """Raise an InputError for folds other than those that a dataset brings along, as one of the paper's split does.

    nnU-Net would train them on a random split, and `all` on everything: test images among it.
    """
    given = preparation.num_folds_given
    if given is None:
        return
    if others := [fold for fold in folds if fold == "all" or int(fold) >= given]:
        raise InputError(
            f"-f {' '.join(others)}: {preparation} was converted with --protocol paper, whose test images are in "
            f"imagesTr, and has fold {', '.join(map(str, range(given)))} alone; others would train on them. Give "
            "-f 0, or convert it with --protocol clean"
        )


def _require_of_this_dataset(preparation: Preparation, copy: Path) -> None:
    """Raise an InputError where nnU-Net's copy of `dataset.json` tells of an earlier conversion."""
    original = preparation.raw / "dataset.json"
    if not (copy.is_file() and original.is_file()):
        return
    converted, used = (_read_dataset_json(file) for file in (original, copy))
    if used != converted:
        raise InputError(
            f"{copy.parent} was made from an earlier conversion of {preparation}: its dataset.json is another; remove "
            "that folder, or set nnUNet_preprocessed and nnUNet_results to other folders"
        )


def _read_dataset_json(file: Path) -> dict[str, Any]:
    """What a dataset says about its images; its description names the protocol."""
    try:
        content: dict[str, Any] = json.loads(file.read_text("utf-8"))
        return {key: content[key] for key in content.keys() - {"licence", "reference"}}
    except (ValueError, AttributeError) as error:
        raise InputError(
            f"{file} is damaged ({error}); put the dataset.json there that the dataset has in the other of nnU-Net's "
            "folders"
        ) from error


def _folder_name(key: str, protocol: Protocol | None) -> str:
    """The name of the dataset folder, whatever ID it was given.

    Args:
        key: Of `paper.DATASETS`.
        protocol: Of its conversion, or None for any.
    """
    name = next(dataset.folder_name for dataset in paper.DATASETS if dataset.key == key)
    base = nnunet_folder("nnUNet_raw")
    found = {
        folder.name: "paper" if (folder / "splits_final.json").is_file() else "clean"
        for folder in sorted(base.glob(f"Dataset[0-9][0-9][0-9]_{name}"))
    }
    fitting = [folder for folder, its_protocol in found.items() if protocol in (None, its_protocol)]
    if len(fitting) > 1:
        raise InputError(
            f"{base} has {' and '.join(f'{folder} (--protocol {found[folder]})' for folder in fitting)}; expected one: "
            + ("remove the other" if protocol else "choose with --protocol, or remove the other")
        )
    if fitting:
        return fitting[0]
    number = _default_id(key)
    taken = {dataset_id(folder) for folder in found}
    while number in taken:  # by the other protocol
        number += 100
    return f"Dataset{number:03d}_{name}"


def _default_id(key: str) -> int:
    """The ID that the converter gives a dataset."""
    return load_converter(key).DESCRIPTION.dataset_id
