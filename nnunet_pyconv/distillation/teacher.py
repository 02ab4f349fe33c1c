"""Trained models of nnU-Net whose outputs are averaged."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from batchgenerators.utilities.file_and_folder_operations import load_json
from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer
from nnunetv2.utilities.find_objects import recursive_find_trainer_class_by_name
from nnunetv2.utilities.plans_handling.plans_handler import PlansManager
from torch import nn
from torch.nn import functional

from nnunet_pyconv.checkpoints import TRUST_VARIABLE, load_checkpoint
from nnunet_pyconv.distillation.matching import ModelPlans
from nnunet_pyconv.distillation.teacher_name import TEACHER_VARIABLE, TeacherName
from nnunet_pyconv.errors import InputError
from nnunet_pyconv.inference_network import build_inference_network
from nnunet_pyconv.names import FINAL_CHECKPOINT


class Teacher(nn.Module):
    """The folds of a trained model, in evaluation mode for good and without gradients.

    Attributes:
        name: The model's folder and its folds.
        planned: What it was planned for.
        trainer_name: What trained it.
    """

    def __init__(
        self, name: TeacherName, planned: ModelPlans, trainer_name: str, networks: Sequence[nn.Module]
    ) -> None:
        """Make a teacher.

        Args:
            name: The model's folder and its folds.
            planned: What it was planned for.
            trainer_name: What trained it.
            networks: One for each fold, (N, C, ...) to one tensor of logits (N, C, ...).
        """
        super().__init__()
        self.name, self.planned, self.trainer_name = name, planned, trainer_name
        self.networks = nn.ModuleList(networks)
        self.requires_grad_(False)
        self.eval()

    def padded_size(self, size: Sequence[int]) -> list[int]:
        """Return the size that a patch is padded to: a multiple of the strides, more than one voxel at the bottom.

        Instance normalisation refuses a single voxel. Networks of nnU-Net take all such sizes, whatever patch they were
        trained on.
        """
        strides = np.prod(self.planned.configuration.pool_op_kernel_sizes, axis=0).tolist()
        padded = [-(-voxels // stride) * stride for voxels, stride in zip(size, strides, strict=True)]
        return [2 * voxels for voxels in padded] if padded == strides else padded

    @torch.no_grad()
    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Return the mean of the folds' logits, as nnU-Net's prediction takes it.

        Args:
            images: (N, C, ...), preprocessed. Where their size doesn't fit the strides they are padded with zeros, as
                nnU-Net pads images in prediction.

        Returns:
            Logits (N, C, ...) in float32, of the images' size.
        """
        size = images.shape[2:]
        missing = [padded - voxels for padded, voxels in zip(self.padded_size(size), size, strict=True)]
        padding = [edge for voxels in reversed(missing) for edge in (voxels // 2, voxels - voxels // 2)]
        padded = functional.pad(images, padding)
        logits = sum((network(padded).float() for network in self.networks), torch.zeros((), device=images.device))
        for axis, (voxels, length) in enumerate(zip(missing, size, strict=True), start=2):
            logits = logits.narrow(axis, voxels // 2, length)
        return logits / len(self.networks)


def load_teacher(name: TeacherName, device: torch.device) -> Teacher:
    """Load a trained model's folds.

    Args:
        name: The model's folder and its folds.
        device: Where to put it.

    Raises:
        InputError: No trained model, a fold that isn't trained to its end, a trainer that isn't found, a checkpoint
            that holds code, or one that doesn't fit its plans.
    """
    if not (name.folder / "plans.json").is_file():
        raise InputError(
            f"{TEACHER_VARIABLE} names {name.folder}, which is no folder of a trained model; expected "
            "nnUNet_results/DATASET/TRAINER__PLANS__CONFIGURATION, with :FOLD,FOLD,... behind it for folds "
            "other than the student's"
        )
    trained = sorted(file.parent.name.removeprefix("fold_") for file in name.folder.glob(f"fold_*/{FINAL_CHECKPOINT}"))
    if missing := [fold for fold in name.folds if fold not in trained]:
        finished = f"fold {', '.join(trained)}" if trained else "no fold"
        raise InputError(
            f"the teacher {name.folder} has {FINAL_CHECKPOINT} of {finished}, "
            f"not of {', '.join(missing)}; train that fold to its end, or name others: "
            f"{TEACHER_VARIABLE}={name.folder}:{','.join(trained) or 'FOLD'}"
        )
    checkpoints = {fold: _load_checkpoint(name, fold) for fold in name.folds}
    first = checkpoints[name.folds[0]]
    try:
        planned = ModelPlans(
            PlansManager(load_json(str(name.folder / "plans.json"))),
            first["init_args"]["configuration"],
            load_json(str(name.folder / "dataset.json")),
        )
        trainer: type[nnUNetTrainer] = recursive_find_trainer_class_by_name(first["trainer_name"])
        networks = [_build_network(trainer, planned, checkpoint) for checkpoint in checkpoints.values()]
    except Exception as error:  # whatever damaged files and missing trainers make nnU-Net and torch raise
        raise InputError(
            f"the teacher {name} could not be made of its plans.json, dataset.json, {FINAL_CHECKPOINT} and trainer "
            f"{first.get('trainer_name')} ({error!r:.300}); expected what its training wrote, and a trainer of nnU-Net "
            "or in a folder of nnUNet_extTrainer"
        ) from error
    return Teacher(name, planned, first["trainer_name"], networks).to(device)


def _build_network(trainer: type[nnUNetTrainer], planned: ModelPlans, checkpoint: dict[str, Any]) -> nn.Module:
    network = build_inference_network(trainer, planned.plans, planned.configuration, planned.dataset_json)
    network.load_state_dict(checkpoint["network_weights"])
    return network


def _load_checkpoint(name: TeacherName, fold: str) -> dict[str, Any]:
    return load_checkpoint(name.fold_folder(fold) / FINAL_CHECKPOINT, trust=os.environ.get(TRUST_VARIABLE) == "1")
