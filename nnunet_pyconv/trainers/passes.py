"""nnU-Net's own recipe, for as many images as the paper's recipe sees."""

from __future__ import annotations

import functools
import math
from typing import Any

import torch
from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer

from nnunet_pyconv.trainers.seed import SeededTrainer


@functools.cache
def trainer_of_passes(number: int) -> type[nnUNetTrainer]:
    """Return the trainer `nnUNetTrainer_Npasses`.

    It is nnU-Net's trainer, whose epochs are not 250 batches, but as many as hold each training case once. After N
    epochs it has seen as many images as the paper's recipe in N; its learning rate falls to 0 by then.

    Args:
        number: How many epochs to train, at least 1.
    """

    class WithPasses(SeededTrainer):
        def __init__(
            self,
            plans: dict[str, Any],
            configuration: str,
            fold: int | str,
            dataset_json: dict[str, Any],
            device: torch.device = torch.device("cuda"),  # noqa: B008  # nnU-Net's signature
        ) -> None:
            super().__init__(plans, configuration, fold, dataset_json, device)
            self.num_epochs = number
            self.save_every = 5

        def get_dataloaders(self) -> tuple[Any, Any]:
            """Return nnU-Net's iterators, and set the length of an epoch."""
            batch_size = self.configuration_manager.batch_size  # of all GPUs together, which have unequal shares
            training, validation = (math.ceil(len(cases) / batch_size) for cases in self.do_split())
            self.num_iterations_per_epoch, self.num_val_iterations_per_epoch = training, max(1, validation)
            return super().get_dataloaders()

    name = f"nnUNetTrainer_{number}passes"
    return type(name, (WithPasses,), {"__module__": __name__, "__doc__": trainer_of_passes.__doc__})
