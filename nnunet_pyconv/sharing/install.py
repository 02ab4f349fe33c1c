"""Installing a package into `nnUNet_results`."""

from __future__ import annotations

import pickle
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from nnunetv2.utilities.plans_handling.plans_handler import PlansManager

from nnunet_pyconv.errors import InputError
from nnunet_pyconv.nnunet_folders import nnunet_folder
from nnunet_pyconv.sharing.archive import Package, open_package
from nnunet_pyconv.sharing.harmless import check_classes, postprocessing_from_json
from nnunet_pyconv.sharing.manifest import MANIFEST, Manifest
from nnunet_pyconv.sharing.members import (
    DATASET,
    PICKLED_POSTPROCESSING,
    PLANS,
    POSTPROCESSING,
    SHIM,
    checkpoint_of,
    cross_validation_folder,
    safetensors_of,
)
from nnunet_pyconv.sharing.requirements import check_installed
from nnunet_pyconv.sharing.safe_checkpoint import checkpoint_from_safetensors
from nnunet_pyconv.sharing.trainer_class import find_trainer, shim_source
from nnunet_pyconv.writing import check_target, whole_folder


@dataclass(frozen=True)
class InstalledModel:
    """An installed model.

    Attributes:
        folder: Where it is.
        manifest: Of its package.
        predict_command: Predicts with it, for a shell.
    """

    folder: Path
    manifest: Manifest
    predict_command: str


def install_model(file: Path, *, overwrite: bool = False) -> InstalledModel:
    """Check a package, then write its model into `nnUNet_results`, whole or not at all.

    What nnU-Net unpickles or imports is not the package's, but written here from what runs no code: checkpoints from
    the safetensors, the postprocessing from its JSON, the module that names the trainer. The package's own pickles are
    not even opened. The hashes show that the rest is what its maker packed; they don't show who that was.

    Args:
        file: The package.
        overwrite: Whether to replace a model of that name, with all its folds.

    Raises:
        InputError: `nnUNet_results` unset, a package that is damaged or unsafe or needs something that isn't installed,
            a model of that name, or no room for it.
    """
    results = nnunet_folder("nnUNet_results")
    if not results.is_dir():
        raise InputError(f"nnUNet_results is {results}, which is no folder; make it, or export another")
    with open_package(file) as package:
        manifest = package.manifest
        check_installed(manifest.requires)
        plans = package.json(PLANS)
        check_classes(plans)
        package.json(DATASET)
        command = manifest.predict_command(after_a_stage=_is_second_stage(plans, manifest.setup.configuration))
        target = results / manifest.model
        check_target(target, overwrite=overwrite)
        size_gb, free_gb = (number / 1e9 for number in (package.size, shutil.disk_usage(results).free))
        if size_gb > free_gb:
            raise InputError(f"the model takes {size_gb:.2f} GB and {results} has {free_gb:.2f} GB left; make room")
        with whole_folder(target, overwrite=overwrite) as folder:
            _write(package, folder)
    return InstalledModel(target, manifest, command)


def _is_second_stage(plans: Any, configuration: str) -> bool:
    try:
        return PlansManager(plans).get_configuration(configuration).previous_stage_name is not None
    except Exception as error:  # whatever damaged plans make nnU-Net raise
        raise InputError(
            f"{PLANS} in the package has no usable {configuration} ({error!r:.200}); ask for the package again"
        ) from error


def _write(package: Package, folder: Path) -> None:
    manifest = package.manifest
    checkpoints = {checkpoint_of(fold, manifest.checkpoint) for fold in manifest.folds}
    postprocessing = f"{cross_validation_folder(manifest.folds)}/{PICKLED_POSTPROCESSING}"
    for name in manifest.sha256:
        if name not in {*checkpoints, postprocessing, SHIM}:
            package.copy(name, folder)
    (folder / MANIFEST).write_text(manifest.to_json(), "utf-8")
    for fold in manifest.folds:
        state, checkpoint = checkpoint_from_safetensors(folder / safetensors_of(fold, manifest.checkpoint))
        state.check_that_it_is_of(manifest.model, fold)
        torch.save(checkpoint, folder / checkpoint_of(fold, manifest.checkpoint))
    if postprocessing in manifest.sha256:
        steps = postprocessing_from_json(package.json(f"{cross_validation_folder(manifest.folds)}/{POSTPROCESSING}"))
        (folder / postprocessing).write_bytes(pickle.dumps(steps))
    if SHIM in manifest.sha256:
        (folder / SHIM).parent.mkdir()
        (folder / SHIM).write_text(shim_source(find_trainer(manifest.setup.trainer)), "utf-8")
