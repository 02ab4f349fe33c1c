"""nnU-Net's trainer and ours with a short training, for `nnUNetv2_train`."""

from __future__ import annotations

import os
from typing import Any

import torch
from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer

from nnunet_pyconv.trainers import nnUNetTrainerPyConv

EPOCHS = "NNUNET_PYCONV_BENCHMARK_EPOCHS"
ITERATIONS = "NNUNET_PYCONV_BENCHMARK_ITERATIONS"


class nnUNetTrainerShort(nnUNetTrainer):
    """Trains for as many epochs and iterations an epoch as the environment says; all else is nnU-Net's."""

    def __init__(
        self, plans: dict[str, Any], configuration: str, fold: int, dataset_json: dict[str, Any], device: torch.device
    ) -> None:
        """Take what nnU-Net's trainer takes."""
        super().__init__(plans, configuration, fold, dataset_json, device)
        self.num_epochs = int(os.environ[EPOCHS])
        self.num_iterations_per_epoch = int(os.environ[ITERATIONS])
        self.num_val_iterations_per_epoch = 1


class nnUNetTrainerPyConvShort(nnUNetTrainerPyConv, nnUNetTrainerShort):
    """The same with PyConv."""
