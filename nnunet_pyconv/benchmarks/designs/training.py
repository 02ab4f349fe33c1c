"""A short training through nnU-Net's own trainer, with the same batches for every design."""

from __future__ import annotations

import os
import random
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import torch
from nnunetv2.inference.predict_from_raw_data import nnUNetPredictor
from tqdm import tqdm

from nnunet_pyconv.distillation import TEACHER_VARIABLE
from nnunet_pyconv.errors import InputError
from nnunet_pyconv.names import BEST_CHECKPOINT, FINAL_CHECKPOINT, SEED_VARIABLE
from nnunet_pyconv.trainers.boundary import BoundaryTrainer
from nnunet_pyconv.trainers.distilled import DistilledTrainer
from nnunet_pyconv.trainers.seed import SeededTrainer
from nnunet_pyconv.trainers.unwrapped import unwrapped

ITERATIONS_PER_EPOCH = 25
FOLD = 0


class nnUNetTrainerDesign(SeededTrainer):
    """nnU-Net's recipe over a given number of iterations, seeded so that every design sees the same batches."""

    def __init__(
        self,
        plans: dict[str, Any],
        configuration: str,
        fold: int,
        dataset_json: dict[str, Any],
        device: torch.device,
    ) -> None:
        """Take what nnU-Net's trainer takes."""
        super().__init__(plans, configuration, fold, dataset_json, device)
        self.num_iterations_per_epoch = ITERATIONS_PER_EPOCH
        self.num_val_iterations_per_epoch = 2
        self.logger.plot_progress_png = lambda _: None  # takes longer than an epoch

    def on_train_start(self) -> None:
        """Seed again after the network has drawn its weights, so that the batches don't depend on the design."""
        super().on_train_start()
        assert self.seed is not None
        seed = self.seed + 1000 * self.current_epoch  # a training that goes on draws other batches than at its start
        random.seed(seed)
        np.random.seed(seed)
        torch.manual_seed(seed)

    def save_checkpoint(self, filename: str) -> None:
        """Keep the latest checkpoint and the final one; no epoch is chosen."""
        if not filename.endswith(BEST_CHECKPOINT):
            super().save_checkpoint(filename)

    def plot_network_architecture(self) -> None:
        """Draw nothing: it takes seconds."""


class nnUNetTrainerDesignDistilled(DistilledTrainer, nnUNetTrainerDesign):
    """The same, with a teacher beside the labels."""


class nnUNetTrainerDesignBoundary(BoundaryTrainer, nnUNetTrainerDesign):
    """The same, with a loss of boundaries."""


def train_and_predict(
    plans: dict[str, Any],
    configuration: str,
    dataset_json: dict[str, Any],
    *,
    results: Path,
    images: list[list[str]],
    predictions: Path,
    iterations: int,
    seed: int,
    device: torch.device,
    teacher: Path | None,
    boundary: bool,
) -> list[float]:
    """Train, from a checkpoint where there is one, and predict the test cases.

    Args:
        plans: nnU-Net's plans, with the network of the design.
        configuration: The configuration of the plans.
        dataset_json: nnU-Net's `dataset.json`.
        results: Takes the place of `nnUNet_results`.
        images: The files of each test case, one a channel.
        predictions: The folder of the predicted labels.
        iterations: Training steps; a multiple of `ITERATIONS_PER_EPOCH`.
        seed: Of the weights and the batches.
        device: Where to train.
        teacher: The `results` of the training whose network teaches; None for none.
        boundary: Whether the loss is that of `BoundaryTrainer`; not with a teacher.

    Returns:
        nnU-Net's pseudo Dice of each epoch, the mean over the foreground classes.

    Raises:
        InputError: No trained network there.
    """
    # the augmentation runs in this process, where the seed holds
    environment = {"nnUNet_results": str(results), "nnUNet_n_proc_DA": "0", SEED_VARIABLE: str(seed)}
    trainer_class: type[nnUNetTrainerDesign] = nnUNetTrainerDesignBoundary if boundary else nnUNetTrainerDesign
    if teacher is not None:
        trainer_class = nnUNetTrainerDesignDistilled
        environment |= {TEACHER_VARIABLE: str(_model_folder(teacher)), "nnUNet_extTrainer": str(Path(__file__).parent)}
    with mock.patch.dict(os.environ, environment):
        # nnU-Net removes the latest one when it has written the final one
        found = (next(results.rglob(f"checkpoint_{which}.pth"), None) for which in ("final", "latest"))
        checkpoint = next(filter(None, found), None)
        # nnU-Net passes on in the plans whether the log goes on
        named = {**plans, "continue_training": checkpoint is not None}
        trainer = trainer_class(named, configuration, FOLD, dataset_json, device)
        trainer.num_epochs = iterations // ITERATIONS_PER_EPOCH
        trainer.save_every = 4
        trainer.initialize()
        if checkpoint is not None:
            trainer.load_checkpoint(str(checkpoint))
        if trainer.current_epoch < trainer.num_epochs:
            _train(trainer, str(predictions))
    trainer.set_deep_supervision_enabled(False)
    network = unwrapped(trainer.network)
    network.eval()
    predictor = nnUNetPredictor(use_mirroring=False, perform_everything_on_device=False, device=device)
    predictor.manual_initialization(
        network,
        trainer.plans_manager,
        trainer.configuration_manager,
        [network.state_dict()],
        trainer.dataset_json,
        type(trainer).__name__,
        None,
    )
    predictions.mkdir(parents=True, exist_ok=True)
    predictor.predict_from_files_sequential(images, [str(predictions / _case(files)) for files in images])
    return [float(value) for value in trainer.logger.get_value("mean_fg_dice", step=None)]


def _train(trainer: nnUNetTrainerDesign, description: str) -> None:
    """Train to the end, with a bar over the iterations."""
    done, total = (epochs * ITERATIONS_PER_EPOCH for epochs in (trainer.current_epoch, trainer.num_epochs))
    with tqdm(total=total, initial=done, desc=description) as bar:
        train_step = trainer.train_step

        def train_step_with_bar(batch: dict[str, Any]) -> Any:
            outputs = train_step(batch)
            bar.update()
            return outputs

        trainer.train_step = train_step_with_bar
        trainer.run_training()


def _model_folder(results: Path) -> Path:
    """The folder of the one model that was trained in these results.

    Raises:
        InputError: There is none, or it isn't trained to its end.
    """
    found = next(results.glob(f"Dataset*/*/fold_{FOLD}/{FINAL_CHECKPOINT}"), None)
    if found is None:
        raise InputError(f"--teacher: {results} has no trained network; train that design first, with the same -o")
    return found.parents[1]


def _case(files: list[str]) -> str:
    """The name of a case by the file of its first channel, `CASE_0000.ext`."""
    return Path(files[0]).name.rpartition("_0000")[0]
