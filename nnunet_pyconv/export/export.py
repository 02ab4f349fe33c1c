"""Exporting a trained model as one file."""

from __future__ import annotations

import datetime
import importlib.metadata
import platform
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import onnx
import torch
from nnunetv2.utilities.label_handling.label_handling import determine_num_input_channels
from tqdm import tqdm

from nnunet_pyconv.errors import InputError
from nnunet_pyconv.export.checkpoint import load_checkpoint
from nnunet_pyconv.export.description import describe
from nnunet_pyconv.export.model_card import licence_text, model_card_of
from nnunet_pyconv.export.onnx_network import OPSET, TOLERANCE, check_against_torch, to_onnx
from nnunet_pyconv.export.package import write_package
from nnunet_pyconv.export.precision import with_half_weights
from nnunet_pyconv.nn.pyconv import PyConv
from nnunet_pyconv.nnunet_folders import find_trainer
from nnunet_pyconv.runtime.description import Description, Network, Precision
from nnunet_pyconv.runtime.model_file import ModelFile
from nnunet_pyconv.sharing.model_card import ModelFacts
from nnunet_pyconv.sharing.model_folder import ModelFolder, open_model
from nnunet_pyconv.writing import whole_files

HALF_TOLERANCE = 2e-2
"""As `TOLERANCE`, with weights in half precision."""


@dataclass(frozen=True)
class Exported:
    """A model file.

    Attributes:
        file: Where it is.
        description: Of the model.
        difference: Largest difference of logits between torch and ONNX Runtime, as a share of the largest logit.
        has_pyconv: Whether its networks have pyramidal convolutions, which ONNX Runtime computes slowly.
    """

    file: Path
    description: Description
    difference: float
    has_pyconv: bool


def export_model(
    folder: Path,
    output: Path,
    *,
    folds: Sequence[str] | None = None,
    checkpoint: str = "checkpoint_final.pth",
    precision: Precision = "fp32",
    overwrite: bool = False,
) -> Exported:
    """Write a trained model as a file that predicts by itself, and check it.

    Args:
        folder: `nnUNet_results/DATASET/TRAINER__PLANS__CONFIGURATION`.
        output: The file to write, `.pyz`.
        folds: Folds to export; None for all that have the checkpoint.
        checkpoint: Name of the checkpoint.
        precision: Of the networks.
        overwrite: Whether to replace the file.

    Raises:
        InputError: A model that can't be used or exported, or a file that is there.
    """
    model = open_model(folder, folds, checkpoint)
    if output.is_dir() or (output.exists() and not overwrite):
        fix = "choose a file" if output.is_dir() else "replace it with --overwrite, or choose another"
        raise InputError(f"{output} is there already; {fix}")
    versions = {
        name: importlib.metadata.version(name) for name in ("nnunet-pyconv", "nnunetv2", "torch", "onnxruntime")
    }
    versions |= {
        "python": platform.python_version(),
        "date": datetime.datetime.now(datetime.timezone.utc).date().isoformat(),
    }
    networks, files, epochs, differences = [], {}, {}, []
    with tempfile.TemporaryDirectory() as scratch, whole_files(output) as (package,):
        first: dict[str, Any] | None = None
        for fold in tqdm(model.folds, desc="exporting", unit="fold", disable=None):
            content = load_checkpoint(model.fold(fold) / checkpoint)
            first = first or content
            epochs[fold] = content["current_epoch"]
            trainer = find_trainer(first["trainer_name"])
            network = model.build_network(trainer, content["network_weights"], fold).eval()
            file = Path(scratch) / f"fold_{fold}.onnx"
            differences.append(_export(network, model, precision, file))
            networks.append(Network(f"networks/{file.name}", fold))
            files[networks[-1].file] = file
        assert first is not None  # open_model gives at least one fold
        description = describe(
            model,
            mirror_axes=first.get("inference_allowed_mirroring_axes"),
            networks=networks,
            precision=precision,
            opset=OPSET,
            versions=versions,
        )
        facts = ModelFacts(trainer, sum(parameter.numel() for parameter in network.parameters()), epochs)
        description = write_package(
            package,
            description,
            files,
            plans=model.plans.plans,
            dataset_json=model.dataset_json,
            model_card=model_card_of(model, facts, versions),
            licence=licence_text(),
        )
        _check_file(package)
    return Exported(output, description, max(differences), any(isinstance(m, PyConv) for m in network.modules()))


def _export(network: torch.nn.Module, model: ModelFolder, precision: Precision, file: Path) -> float:
    """Write one network; returns its largest difference from torch."""
    patch_size = model.configuration_manager.patch_size
    channels = determine_num_input_channels(model.plans, model.configuration_manager, model.dataset_json)
    to_onnx(network, channels, patch_size, file)
    if precision == "fp16":
        onnx.save(with_half_weights(onnx.load(file)), file)
    difference = check_against_torch(network, file.read_bytes(), channels, patch_size)
    if not difference <= (TOLERANCE if precision == "fp32" else HALF_TOLERANCE):
        raise InputError(
            f"the exported network's logits differ from torch's by {difference:.2g} of the largest; it is not written. "
            "Report this with the model's plans, and predict with nnUNetv2_predict"
        )
    return difference


def _check_file(package: Path) -> None:
    """Read the file as the runtime will."""
    model = ModelFile.open(package)
    for network in model.description.networks:
        model.network(network.file)
