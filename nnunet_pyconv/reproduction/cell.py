"""One cell of the matrix: a network, trained, validated and tested on a fold of a dataset."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from nnunetv2.paths import nnUNet_results

from nnunet_pyconv.errors import InputError
from nnunet_pyconv.names import SEED_VARIABLE
from nnunet_pyconv.nnunet_commands import Outcome, Step, run_steps
from nnunet_pyconv.reproduction.preparation import LOG, Preparation

FINAL, LATEST, BEST = "checkpoint_final.pth", "checkpoint_latest.pth", "checkpoint_best.pth"


@dataclass(frozen=True)
class Cell:
    """A cell; called as a job. What is done is read off nnU-Net's own files in `folder`.

    Attributes:
        preparation: Of its dataset.
        network: `unet`, ...; the configuration is `2d_unet`.
        fold: 0 to 4, or `all`.
        trainer: Name of the trainer.
        checkpoint: The file name of the checkpoint that predicts the test images.
        device: nnU-Net's `-device`.
        num_gpus: nnU-Net's `-num_gpus`.
        seed: What the trainer seeds its random numbers with; None leaves them as they come.
    """

    preparation: Preparation
    network: str
    fold: str
    trainer: str
    checkpoint: str
    device: str
    num_gpus: int = 1
    seed: int | None = None

    def __str__(self) -> str:
        return f"{self.preparation} {self.network} fold {self.fold}"

    @property
    def configuration(self) -> str:
        """The plans' configuration."""
        return f"2d_{self.network}"

    @property
    def folder(self) -> Path:
        """nnU-Net's results folder of the fold."""
        model = f"{self.trainer}__{self.preparation.plans}__{self.configuration}"
        return Path(nnUNet_results.require()) / self.preparation.dataset / model / f"fold_{self.fold}"

    @property
    def predictions(self) -> Path:
        """The predicted test images and nnU-Net's summary of them."""
        return self.folder / "test"

    @property
    def log(self) -> Path:
        """What its commands print, beside nnU-Net's own logs."""
        return self.folder / LOG

    @property
    def is_trained(self) -> bool:
        """Whether it is trained and validated."""
        return self._has_after(FINAL, self.folder / "validation" / "summary.json")

    @property
    def is_done(self) -> bool:
        """Whether nothing is left to do."""
        return self.is_trained and self._has_after(FINAL, self.predictions / "summary.json")

    @property
    def is_started(self) -> bool:
        """Whether there is a training to go on with, or an ended one."""
        return any((self.folder / name).is_file() for name in (FINAL, LATEST, BEST))

    @property
    def seed_used(self) -> int | None:
        """The seed of a training that is started, out of nnU-Net's `debug.json`; None if it had none.

        Raises:
            InputError: A damaged file.
        """
        file = self.folder / "debug.json"
        if not file.is_file():
            return None
        try:
            seed = json.loads(file.read_text()).get("seed", "None")
            return None if seed == "None" else int(seed)
        except (ValueError, AttributeError, TypeError) as error:
            raise InputError(
                f"{file}, from which the seed of the earlier training is known, is damaged ({error!r}); remove this "
                "file to go on without a seed, or the folder to train again"
            ) from error

    def steps(self) -> Iterator[Step]:
        """The steps that are left, each seeing what the one before it left."""
        if not self.is_trained:
            yield self._train()
        if not self.is_done:
            yield self._predict()
            yield self._evaluate()

    def __call__(self) -> Outcome:
        """Run what is left."""
        if not self.preparation.is_done:
            return Outcome(str(self), self.preparation.log, "the dataset isn't prepared")
        return run_steps(str(self), self.steps(), self.log)

    def _train(self) -> Step:
        command = ["nnUNetv2_train", self.preparation.dataset_id, self.configuration, self.fold]
        command += ["-tr", self.trainer, "-p", self.preparation.plans, "-device", self.device]
        if self.num_gpus > 1:
            command += ["-num_gpus", str(self.num_gpus)]
        # without a seed, nnU-Net would note in debug.json that the training that goes on had none
        seed = self.seed_used if self.seed is None and self.is_started else self.seed
        environment = {} if seed is None else {SEED_VARIABLE: str(seed)}
        if (self.folder / FINAL).is_file():
            return Step("validate", [*command, "--val"], environment)
        if (self.folder / LATEST).is_file() or (self.folder / BEST).is_file():
            return Step("continue training, validate", [*command, "--c"], environment)
        return Step("train, validate", command, environment)

    def _predict(self) -> Step:
        command = ["nnUNetv2_predict", "-d", self.preparation.dataset_id, "-c", self.configuration, "-f", self.fold]
        command += ["-tr", self.trainer, "-p", self.preparation.plans, "-chk", self.checkpoint, "-device", self.device]
        command += ["-i", str(self.preparation.raw / "imagesTs"), "-o", str(self.predictions)]
        return Step("predict", command)

    def _evaluate(self) -> Step:
        predictions = self.predictions
        command = ["nnUNetv2_evaluate_folder", str(self.preparation.raw / "labelsTs"), str(predictions)]
        command += ["-djfile", str(predictions / "dataset.json"), "-pfile", str(predictions / "plans.json")]
        command += ["-np", str(self.preparation.num_processes)]
        return Step("evaluate", command)

    def _has_after(self, name: str, summary: Path) -> bool:
        """Whether there is a file of that name and a summary that isn't older: not of an earlier training."""
        file = self.folder / name
        return file.is_file() and summary.is_file() and summary.stat().st_mtime >= file.stat().st_mtime
