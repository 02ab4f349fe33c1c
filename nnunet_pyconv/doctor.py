"""Checks that a training could start, each with what to do if not."""

from __future__ import annotations

import contextlib
import importlib.metadata
import io
import os
import platform
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import torch
from batchgenerators.utilities.file_and_folder_operations import load_json
from nnunetv2.paths import nnUNet_extTrainer
from nnunetv2.utilities.find_objects import recursive_find_trainer_class_by_name
from nnunetv2.utilities.plans_handling.plans_handler import PlansManager
from packaging.requirements import Requirement

from nnunet_pyconv.architectures.pyconv_unet import check_patch_size
from nnunet_pyconv.checkpoints import checkpoint_damage
from nnunet_pyconv.device import available_devices
from nnunet_pyconv.errors import InputError
from nnunet_pyconv.leftovers import find_leftovers
from nnunet_pyconv.nn.backends import available_backends
from nnunet_pyconv.nn.backends.table import table_of
from nnunet_pyconv.nnunet_folders import VARIABLES, nnunet_folder_if_set
from nnunet_pyconv.planning import network_on_meta
from nnunet_pyconv.planning.plans_files import is_plans_file
from nnunet_pyconv.trainer_dir import TRAINER_DIR

TRAINER = "nnUNetTrainerPyConv"


@dataclass(frozen=True)
class Finding:
    """What a check found.

    Attributes:
        subject: What was looked at.
        state: What it is like.
        fix: What to do about it; None where nothing is to be done.
        blocks: Whether no training can start before that; a fault of one dataset leaves the others.
    """

    subject: str
    state: str
    fix: str | None = None
    blocks: bool = False


def examine() -> Iterator[Finding]:
    """Run all checks; a training could start if no finding blocks."""
    for check in _CHECKS:
        yield from check()


def examine_model(folder: Path) -> Iterator[Finding]:
    """Check that the checkpoints of a trained model are whole: nnU-Net's prediction does not say which one isn't.

    Nothing in them is executed, so those of a stranger can be checked as well.

    Args:
        folder: `nnUNet_results/DATASET/TRAINER__PLANS__CONFIGURATION`.

    Raises:
        InputError: A folder without checkpoints.
    """
    files = sorted(folder.glob("fold_*/checkpoint_*.pth"), reverse=True)  # latest, final, best
    if not files:
        raise InputError(
            f"{folder} has no fold_*/checkpoint_*.pth; expected the folder of a trained model, "
            "nnUNet_results/DATASET/TRAINER__PLANS__CONFIGURATION"
        )
    damages = {file: checkpoint_damage(file) for file in files}
    whole = [file for file, damage in damages.items() if not damage]
    for file in files:
        fold = file.parent.name
        if file in whole:
            yield Finding(f"{fold} {file.name}", "whole")
            continue
        others = [other.name for other in whole if other.parent == file.parent]
        fix = f"predict with -f {fold.removeprefix('fold_')} -chk {others[0]}, or " if others else ""
        yield Finding(f"{fold} {file.name}", damages[file], f"{fix}restore it from a copy", blocks=True)


def _versions() -> Iterator[Finding]:
    yield Finding("Python", platform.python_version())
    yield Finding("nnunet-pyconv", importlib.metadata.version("nnunet-pyconv"))
    for line in importlib.metadata.requires("nnunet-pyconv") or ():
        requirement = Requirement(line)
        if requirement.name not in ("nnunetv2", "torch", "dynamic-network-architectures"):
            continue
        version = importlib.metadata.version(requirement.name)
        # a local build such as 2.13.0+cpu counts as its release
        supported = requirement.specifier.contains(version.partition("+")[0], prereleases=True)
        fix = None if supported else f"pip install '{requirement.name}{requirement.specifier}'"
        yield Finding(requirement.name, version, fix, blocks=not supported)


def _device() -> Iterator[Finding]:
    devices = available_devices()
    hint = "" if devices[0] == "cuda" else f"; give nnU-Net -device {devices[0]}"
    yield Finding("device", f"{', '.join(devices)}{hint}")


def _backends() -> Iterator[Finding]:
    for name, reason in available_backends().items():
        yield Finding(f"backend {name}", "ready" if reason is None else f"not here, others take its place: {reason}")


def _choices() -> Iterator[Finding]:
    if torch.cuda.is_available():
        table = table_of(torch.device("cuda"))
        where = f"in {table.file}" if table.file is not None else "no folder to keep any"
        yield Finding("backend choices", f"{len(table.choices)} for {table.machine.gpu} and these versions; {where}")


def _folders() -> Iterator[Finding]:
    for name in VARIABLES:
        path = nnunet_folder_if_set(name)
        if path is None:
            yield Finding(name, "not set", f"set it to a folder: export {name}=$HOME/{name}", blocks=True)
        elif not path.is_dir():
            yield Finding(name, f"{path} is not a folder", f'make it: mkdir -p "{path}"', blocks=True)
        elif name != "nnUNet_raw" and not os.access(path, os.W_OK):
            fix = "give yourself the right to write, or set another folder"
            yield Finding(name, f"{path} can't be written", fix, blocks=True)
        else:
            yield Finding(name, str(path))


def _leftovers() -> Iterator[Finding]:
    for leftover in find_leftovers():
        state = f"a process that wrote {leftover.path} was killed, and left something behind"
        yield Finding("leftover", state, "nnunet_pyconv doctor --clean")


def _trainer() -> Iterator[Finding]:
    try:
        with contextlib.redirect_stdout(io.StringIO()):  # the finder prints its search
            trainer = recursive_find_trainer_class_by_name(TRAINER)
    except Exception as error:  # the finder imports whatever lies in the folders
        folders = nnUNet_extTrainer.get()
        if not folders:
            state, fix = "nnU-Net does not look for it", 'export nnUNet_extTrainer="$(nnunet_pyconv trainer_dir)"'
        elif str(TRAINER_DIR) not in folders.split(os.pathsep):
            state = "nnU-Net's finder does not see it"
            fix = f"add {TRAINER_DIR} to nnUNet_extTrainer, with {os.pathsep!r} between the folders"
        else:
            state, fix = (
                f"nnU-Net's finder fails ({error!r})",
                "repair or leave out the other folders in nnUNet_extTrainer",
            )
        yield Finding(TRAINER, state, fix, blocks=True)
    else:
        yield Finding(TRAINER, f"found by nnU-Net in {trainer.__module__}")


def _plans() -> Iterator[Finding]:
    preprocessed = nnunet_folder_if_set("nnUNet_preprocessed")
    if preprocessed is None or not preprocessed.is_dir():
        return
    files = sorted(preprocessed.glob("Dataset*/*.json"))
    files = [file for file in files if "Plans" in file.stem or is_plans_file(file)]  # plans may have any name
    findings = [finding for file in files for finding in _configurations(file)]
    yield from findings
    if all(finding.fix is not None for finding in findings):
        fix = "nnUNetv2_plan_and_preprocess -d ID -c 2d"
        yield Finding("datasets", f"none in {preprocessed} is ready to train", fix, blocks=True)


def _configurations(file: Path) -> Iterator[Finding]:
    """One finding for each configuration of a plans file that has been preprocessed."""
    subject = f"{file.parent.name} {file.stem}"
    try:
        manager = PlansManager(str(file))
        dataset_json = load_json(str(file.parent / "dataset.json"))
        names = manager.available_configurations
    except Exception as error:
        yield Finding(subject, f"can't be read ({error!r})", "nnUNetv2_plan_and_preprocess -d ID -c 2d")
        return
    for name in names:
        try:
            configuration = manager.get_configuration(name)
            if not any((file.parent / configuration.data_identifier).glob("*.pkl")):
                continue  # not preprocessed, so not meant to be trained yet
            check_patch_size(configuration.patch_size, configuration.network_arch_init_kwargs)
            network = network_on_meta(manager, configuration, dataset_json)
        except Exception as error:  # whatever damaged plans make nnU-Net or torch raise
            fix = f"make {file.name} anew, and install the package of its network"
            yield Finding(f"{subject} {name}", f"gives no network to train ({error!r})", fix)
        else:
            yield Finding(f"{subject} {name}", f"resolves to {type(network).__name__}")


_CHECKS: tuple[Callable[[], Iterator[Finding]], ...] = (
    _versions,
    _device,
    _backends,
    _choices,
    _folders,
    _leftovers,
    _trainer,
    _plans,
)
