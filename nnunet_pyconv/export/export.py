"""Exporting a trained model as one file."""

from __future__ import annotations

import datetime
import importlib.metadata
import platform
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import onnx
import onnxruntime
from nnunetv2.utilities.label_handling.label_handling import determine_num_input_channels
from torch import nn
from tqdm import tqdm

from nnunet_pyconv.errors import InputError
from nnunet_pyconv.export.description import describe
from nnunet_pyconv.export.model_card import licence_text, model_card_of
from nnunet_pyconv.export.onnx_network import OPSET, TOLERANCE, difference_from_torch, to_onnx
from nnunet_pyconv.export.package import write_package
from nnunet_pyconv.export.precision import with_half_weights
from nnunet_pyconv.export.quantization import DICE_LIMIT, Quantized, quantize
from nnunet_pyconv.export.training_cases import TrainingCases
from nnunet_pyconv.export.web import check_for_page
from nnunet_pyconv.names import FINAL_CHECKPOINT
from nnunet_pyconv.nn.pyconv import PyConv
from nnunet_pyconv.nnunet_folders import find_trainer
from nnunet_pyconv.runtime.description import Description, Network, Precision
from nnunet_pyconv.runtime.model_file import ModelFile
from nnunet_pyconv.sharing.model_card import ModelFacts
from nnunet_pyconv.sharing.model_folder import ModelFolder, open_model
from nnunet_pyconv.writing import check_target, whole_files

HALF_TOLERANCE = 2e-2
"""As `TOLERANCE`, with weights in half precision."""


@dataclass(frozen=True)
class Exported:
    """A model file.

    Attributes:
        file: Where it is.
        description: Of the model.
        difference: Largest difference of logits between torch and ONNX Runtime, as a share of the largest logit.
        quantized: What 8 bit cost each fold, for `int8`.
        is_slow: Whether its networks have grouped convolutions with large kernels, which ONNX Runtime computes slowly.
    """

    file: Path
    description: Description
    difference: float
    quantized: Mapping[str, Quantized]
    is_slow: bool


def export_model(
    folder: Path,
    output: Path,
    *,
    folds: Sequence[str] | None = None,
    checkpoint: str = FINAL_CHECKPOINT,
    precision: Precision = "fp32",
    force: bool = False,
    for_page: bool = False,
    overwrite: bool = False,
    trust: bool = False,
) -> Exported:
    """Write a trained model as a file that predicts by itself, and check it.

    Args:
        folder: `nnUNet_results/DATASET/TRAINER__PLANS__CONFIGURATION`.
        output: The file to write, `.pyz`.
        folds: Folds to export; None for the numbered ones that have the checkpoint, or `all` where there is no other.
        checkpoint: Name of the checkpoint.
        precision: Of the networks; `int8` needs the preprocessed training cases.
        force: Whether to write `int8` that loses more than `DICE_LIMIT`.
        for_page: Whether to refuse a model that the page can't run, see `check_for_page`.
        overwrite: Whether to replace the file.
        trust: Whether to load checkpoints that would run code.

    Raises:
        InputError: A model that can't be used or exported, a file that exists, or 8 bit that lose too much.
    """
    check_target(output, overwrite=overwrite, kind="file")
    model = open_model(folder, folds, checkpoint)
    versions = {name: importlib.metadata.version(name) for name in ("nnunet-pyconv", "nnunetv2", "torch")}
    versions |= {"onnxruntime": onnxruntime.__version__, "python": platform.python_version()}
    versions |= {"date": datetime.datetime.now(datetime.timezone.utc).date().isoformat()}
    first = model.load_checkpoint(model.folds[0], trust=trust)
    trainer = find_trainer(first["trainer_name"])
    networks = {fold: Network(f"networks/fold_{fold}.onnx", fold) for fold in model.folds}
    try:
        description = describe(
            model,
            mirror_axes=first.get("inference_allowed_mirroring_axes"),
            networks=list(networks.values()),
            precision=precision,
            opset=OPSET,
            versions=versions,
        )
    except (KeyError, TypeError, AttributeError) as error:  # plans that lack something
        raise InputError(
            f"{model.path / 'plans.json'} is damaged ({error!r:.200}); expected the plans that the training wrote"
        ) from error
    if for_page:
        check_for_page(description)
    exports: dict[str, _Export] = {}
    epochs: dict[str, int] = {}
    with tempfile.TemporaryDirectory() as scratch, whole_files(output, overwrite=overwrite) as (package,):
        for fold in tqdm(model.folds, desc="exporting", unit="fold", disable=None):
            content = model.load_checkpoint(fold, trust=trust)
            epochs[fold] = content["current_epoch"]
            network = model.build_network(trainer, content["network_weights"], fold).eval()
            exports[fold] = _export(network, model, fold, description, Path(scratch) / f"fold_{fold}.onnx")
        quantized = {fold: export.quantized for fold, export in exports.items() if export.quantized is not None}
        _refuse_losses(quantized, force=force)
        facts = ModelFacts(trainer, sum(parameter.numel() for parameter in network.parameters()), epochs)
        description = write_package(
            package,
            description,
            {networks[fold].file: export.file for fold, export in exports.items()},
            plans=model.plans.plans,
            dataset_json=model.dataset_json,
            model_card=model_card_of(model, facts, versions, quantized),
            licence=licence_text(),
        )
        _check_file(package)
    return Exported(
        output,
        description,
        max(export.difference for export in exports.values()),
        quantized,
        any(_is_slow(module) for module in network.modules()),
    )


@dataclass(frozen=True)
class _Export:
    """The ONNX file of a fold, its difference from torch before any quantisation, and what that cost."""

    file: Path
    difference: float
    quantized: Quantized | None


def _export(network: nn.Module, model: ModelFolder, fold: str, description: Description, file: Path) -> _Export:
    patch_size = description.patch_size
    channels = determine_num_input_channels(model.plans, model.configuration_manager, model.dataset_json)
    cases = TrainingCases(model, fold) if description.precision == "int8" else None  # before what takes longer
    to_onnx(network, channels, patch_size, file)
    if description.precision == "fp16":
        try:
            onnx.save(with_half_weights(onnx.load(file)), file)
        except OverflowError as error:
            raise InputError(f"--precision fp16: {error}; choose fp32") from error
    difference = difference_from_torch(network, file.read_bytes(), channels, patch_size)
    if not difference <= (HALF_TOLERANCE if description.precision == "fp16" else TOLERANCE):
        raise InputError(
            f"the exported network's logits differ from torch's by {difference:.2g} of the largest; it is not written. "
            "Report this with the model's plans, and predict with nnUNetv2_predict"
        )
    if cases is None:
        return _Export(file, difference, None)
    quantized = quantize(file, cases.patches(patch_size), list(cases.validation()), description)
    file.write_bytes(quantized.content)
    return _Export(file, difference, quantized)


def _is_slow(module: nn.Module) -> bool:
    """Tell whether a layer has levels of some groups and large kernels; one group, or one a channel, is no matter."""
    return isinstance(module, PyConv) and any(
        max(level.kernel_size) > 3 and 1 < level.groups < level.in_channels
        for level in module.levels
        if isinstance(level, (nn.Conv2d, nn.Conv3d))
    )


def _refuse_losses(quantized: Mapping[str, Quantized], *, force: bool) -> None:
    for fold, result in quantized.items():
        if result.loss > DICE_LIMIT and not force:
            raise InputError(
                f"fold {fold} loses {result.loss:.4f} of its Dice in 8 bit ({result.dice_float:.4f} to "
                f"{result.dice:.4f}), more than {DICE_LIMIT}, even with {result.in_float} of {result.convolutions} "
                "convolutions in float32; choose --precision fp16, or write it anyway with --force"
            )


def _check_file(package: Path) -> None:
    """Read the file as the runtime will."""
    model = ModelFile.open(package)
    for network in model.description.networks:
        model.network(network.file)
