"""nnU-Net's trainers without a dataset, for tests."""

from __future__ import annotations

from copy import deepcopy
from typing import Any

import torch
from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer

from nnunet_pyconv.trainers import nnUNetTrainerPyConv


def make_trainer(
    plans: dict[str, Any],
    configuration: str,
    dataset: dict[str, Any],
    trainer: type[nnUNetTrainer] = nnUNetTrainerPyConv,
) -> nnUNetTrainer:
    """A trainer that nnU-Net has initialised, with seeded weights."""
    torch.manual_seed(0)
    for plan in plans["configurations"].values():
        plan.setdefault("batch_dice", True)
    made = trainer({**deepcopy(plans), "continue_training": False}, configuration, 0, dataset, torch.device("cpu"))
    made.initialize()
    return made
