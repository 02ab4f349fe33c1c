"""Sharing a trained model as one file."""

from __future__ import annotations

import hashlib
import importlib.metadata
import platform
import tempfile
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from tqdm import tqdm

from nnunet_pyconv.errors import InputError
from nnunet_pyconv.names import FINAL_CHECKPOINT
from nnunet_pyconv.sharing.archive import CHUNK, open_package
from nnunet_pyconv.sharing.harmless import check_classes
from nnunet_pyconv.sharing.manifest import MANIFEST, Manifest
from nnunet_pyconv.sharing.members import MODEL_CARD, SHIM, safetensors_of
from nnunet_pyconv.sharing.model_card import ModelFacts, model_card, read_report
from nnunet_pyconv.sharing.model_folder import ModelFolder, open_model
from nnunet_pyconv.sharing.requirements import KNOWN, requirements_of_this_machine
from nnunet_pyconv.sharing.safe_checkpoint import TrainingState, save_checkpoint_as_safetensors
from nnunet_pyconv.sharing.trainer_class import find_trainer, shim_source
from nnunet_pyconv.writing import check_target, whole_files


@dataclass(frozen=True)
class SharedModel:
    """A written package.

    Attributes:
        file: Where it is.
        manifest: What is in it.
        has_own_card: Whether the model card is one that lay in the model's folder.
    """

    file: Path
    manifest: Manifest
    has_own_card: bool


def share_model(
    folder: Path,
    output: Path,
    *,
    folds: Sequence[str] | None = None,
    checkpoint: str = FINAL_CHECKPOINT,
    report: Path | None = None,
    overwrite: bool = False,
    trust: bool = False,
) -> SharedModel:
    """Write what nnU-Net's export takes from a model, with hashes, a model card, a trainer shim and safetensors.

    The members have the paths that nnU-Net's export gives them, so `nnUNetv2_install_pretrained_model_from_zip` takes
    the package as well.

    Args:
        folder: `nnUNet_results/DATASET/TRAINER__PLANS__CONFIGURATION`.
        output: The package to write.
        folds: Folds to share; None for the numbered ones that have the checkpoint, or `all` where there is no other.
        checkpoint: Name of the checkpoint.
        report: Folder of `nnunet_pyconv report`, whose tables enter the model card.
        overwrite: Whether to replace the file.
        trust: Whether to load checkpoints that would run code.

    Raises:
        InputError: A folder, fold, checkpoint or report that can't be used, or a file that exists.
    """
    check_target(output, overwrite=overwrite, kind="file")
    model = open_model(folder, folds, checkpoint)
    check_classes(model.plans.plans)
    own_card = model.path / MODEL_CARD
    if own_card.is_file() and report is not None:
        raise InputError(f"{own_card} is taken as it is, and --report would change nothing; remove one of them")
    tables = read_report(report, model.path.parent.name) if report is not None else []
    with (
        whole_files(output, overwrite=overwrite) as (package,),
        tempfile.TemporaryDirectory(prefix="made-", dir=package.parent.parent) as made_here,
    ):
        made = Path(made_here)
        facts = _write_weights(model, made, trust=trust)
        if facts.trainer.__module__.startswith("nnunet_pyconv."):
            (made / SHIM).parent.mkdir()
            (made / SHIM).write_text(shim_source(facts.trainer), "utf-8")
        manifest = _manifest(model, facts)
        if not own_card.is_file():
            (made / MODEL_CARD).write_text(model_card(model, facts, manifest, tables), "utf-8")
        members = {name: model.path / name for name in model.files()}
        if own_card.is_file():
            members[MODEL_CARD] = own_card
        members |= {file.relative_to(made).as_posix(): file for file in sorted(made.rglob("*")) if file.is_file()}
        manifest = _write_package(package, manifest, members)
        with open_package(package):  # whoever gets it can open it as well
            pass
    return SharedModel(output, manifest, own_card.is_file())


def _write_weights(model: ModelFolder, made: Path, *, trust: bool) -> ModelFacts:
    """Write the weights of each fold as safetensors, which needs the network and so proves that it can be built."""
    epochs: dict[str, int] = {}
    for fold in tqdm(model.folds, desc="weights", unit="fold", disable=None):
        checkpoint = model.load_checkpoint(fold, trust=trust)
        state = TrainingState.of(checkpoint)
        trainer = find_trainer(state.trainer_name)
        state.check_that_it_is_of(model.model, fold)
        epochs[fold] = state.current_epoch
        network = model.build_network(trainer, checkpoint["network_weights"], fold)
        file = made / safetensors_of(fold, model.checkpoint)
        file.parent.mkdir()
        save_checkpoint_as_safetensors(network, state, file)
    return ModelFacts(trainer, sum(parameter.numel() for parameter in network.parameters()), epochs)


def _manifest(model: ModelFolder, facts: ModelFacts) -> Manifest:
    versions = {name: importlib.metadata.version(name) for name in (*KNOWN, "torch")}
    return Manifest(
        model=model.model,
        folds=model.folds,
        checkpoint=model.checkpoint,
        trainer_module=facts.trainer.__module__,
        network=model.configuration_manager.network_arch_class_name,
        requires=requirements_of_this_machine(),
        versions={**versions, "python": platform.python_version()},
        sha256={},
    )


def _write_package(package: Path, manifest: Manifest, members: dict[str, Path]) -> Manifest:
    """Write the members and the manifest with their hashes; returns that."""
    hashes: dict[str, str] = {}
    with zipfile.ZipFile(package, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, file in tqdm(members.items(), desc="packing", unit="file", disable=None):
            digest = hashlib.sha256()
            with file.open("rb") as source, archive.open(f"{manifest.model}/{name}", "w", force_zip64=True) as target:
                while chunk := source.read(CHUNK):
                    digest.update(chunk)
                    target.write(chunk)
            hashes[name] = digest.hexdigest()
        manifest = replace(manifest, sha256=hashes)
        archive.writestr(f"{manifest.model}/{MANIFEST}", manifest.to_json())
    return manifest
