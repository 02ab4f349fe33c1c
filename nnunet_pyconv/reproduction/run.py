"""One run: a network, trained, validated and tested on a fold of a dataset."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from nnunet_pyconv.checkpoints import checkpoint_damage
from nnunet_pyconv.errors import InputError
from nnunet_pyconv.names import BEST_CHECKPOINT, FINAL_CHECKPOINT, LATEST_CHECKPOINT, SEED_VARIABLE
from nnunet_pyconv.nnunet_commands import Outcome, Step, run_steps
from nnunet_pyconv.nnunet_folders import Setup
from nnunet_pyconv.reproduction.preparation import LOG, Preparation
from nnunet_pyconv.reproduction.products import evaluation_damage


@dataclass(frozen=True)
class Run:
    """A run; called as a job. What is done is read off nnU-Net's own files in `folder`.

    Attributes:
        preparation: Of its dataset.
        network: What the user calls it: `unet`, ...
        setup: Trainer, plans and configuration.
        fold: 0 to 4, or `all`.
        checkpoint: The file name of the checkpoint that predicts the test images.
        device: nnU-Net's `-device`.
        num_gpus: nnU-Net's `-num_gpus`.
        seed: What the trainer seeds its random numbers with; None leaves them as they come.
    """

    preparation: Preparation
    network: str
    setup: Setup
    fold: str
    checkpoint: str
    device: str
    num_gpus: int = 1
    seed: int | None = None

    def __str__(self) -> str:
        return f"{self.preparation} {self.network} fold {self.fold}"

    @property
    def folder(self) -> Path:
        """nnU-Net's results folder of the fold."""
        return self.setup.folder(self.preparation.dataset, self.fold)

    @property
    def validation(self) -> Path:
        """The predicted validation cases and nnU-Net's summary of them."""
        return self.folder / "validation"

    @property
    def predictions(self) -> Path:
        """The predicted test images and nnU-Net's summary of them."""
        return self.folder / "test"

    @property
    def log(self) -> Path:
        """What its commands print, beside nnU-Net's own logs."""
        return self.folder / LOG

    @property
    def is_done(self) -> bool:
        """Whether nothing is left to do."""
        return self._is_trained and self._is_tested

    @property
    def is_started(self) -> bool:
        """Whether there is a training to go on with, or an ended one."""
        return any((self.folder / name).is_file() for name in (FINAL_CHECKPOINT, LATEST_CHECKPOINT, BEST_CHECKPOINT))

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

    def damages(self) -> list[str]:
        """Return what is there and not whole, a sentence each; it will be made again."""
        found = list(self._damaged_checkpoints().values())
        for folder in (self.validation, self.predictions):
            if (folder / "summary.json").is_file() and (damage := self._evaluation_damage(folder)):
                found.append(f"{folder}: {damage}")
        return found

    def steps(self) -> Iterator[Step]:
        """The steps that are left, each seeing what the one before it left."""
        if not self._is_trained:
            yield self._train()
        if not self._is_tested:
            yield self._predict()
            yield self._evaluate()

    def __call__(self) -> Outcome:
        """Run what is left; what is damaged is put aside and made again."""
        if not self.preparation.is_done:
            return Outcome(str(self), self.preparation.log, "the dataset isn't prepared")
        return run_steps(str(self), self._steps_after_repair(), self.log)

    def _steps_after_repair(self) -> Iterator[Step]:
        for damage in self.damages():
            print(f"{self}: {damage}; it is made again", flush=True)
        damaged = self._damaged_checkpoints()
        # nnU-Net would validate the last epoch in the place of the best, and can't go on from a final checkpoint
        names = {FINAL_CHECKPOINT, *damaged} if damaged else ()
        for file in (self.folder / name for name in names):
            if file.is_file():
                file.replace(file.with_name(f"{file.name}.damaged"))
        yield from self.steps()

    @property
    def _is_trained(self) -> bool:
        return not self._damaged_checkpoints() and self._is_evaluated(self.validation)

    @property
    def _is_tested(self) -> bool:
        return self._is_evaluated(self.predictions)

    def _is_evaluated(self, folder: Path) -> bool:
        """Whether all cases are predicted and scored, after the training: not after an earlier one."""
        final, summary = self.folder / FINAL_CHECKPOINT, folder / "summary.json"
        if not (final.is_file() and summary.is_file() and summary.stat().st_mtime >= final.stat().st_mtime):
            return False
        return not self._evaluation_damage(folder)

    def _evaluation_damage(self, folder: Path) -> str:
        preparation = self.preparation
        cases = preparation.test_cases() if folder == self.predictions else preparation.validation_cases(self.fold)
        return evaluation_damage(folder, cases, preparation.raw_dataset)

    def _damaged_checkpoints(self) -> dict[str, str]:
        """What is wrong with each checkpoint that validates or predicts; the trainer checks those it goes on from."""
        final = self.folder / FINAL_CHECKPOINT
        if not final.is_file():
            return {}
        used = dict.fromkeys((FINAL_CHECKPOINT, self.checkpoint))
        damages = {name: checkpoint_damage(self.folder / name) for name in used}
        return {name: damage for name, damage in damages.items() if damage}

    def _train(self) -> Step:
        setup = self.setup
        command = ["nnUNetv2_train", self.preparation.dataset_id, setup.configuration, self.fold]
        command += ["-tr", setup.trainer, "-p", setup.plans, "-device", self.device]
        if self.num_gpus > 1:
            command += ["-num_gpus", str(self.num_gpus)]
        # without a seed, nnU-Net would note in debug.json that the training that goes on had none
        seed = self.seed_used if self.seed is None and self.is_started else self.seed
        environment = {} if seed is None else {SEED_VARIABLE: str(seed)}
        if (self.folder / FINAL_CHECKPOINT).is_file() and not self._damaged_checkpoints():
            return Step("validate", [*command, "--val"], environment)
        whole = {LATEST_CHECKPOINT, BEST_CHECKPOINT} - self._damaged_checkpoints().keys()
        if any((self.folder / name).is_file() for name in whole):
            return Step("continue training, validate", [*command, "--c"], environment)
        return Step("train, validate", command, environment)

    def _predict(self) -> Step:
        setup = self.setup
        command = ["nnUNetv2_predict", "-d", self.preparation.dataset_id, "-c", setup.configuration, "-f", self.fold]
        command += ["-tr", setup.trainer, "-p", setup.plans, "-chk", self.checkpoint, "-device", self.device]
        command += ["-i", str(self.preparation.raw / "imagesTs"), "-o", str(self.predictions)]
        return Step("predict", command)

    def _evaluate(self) -> Step:
        predictions = self.predictions
        command = ["nnUNetv2_evaluate_folder", str(self.preparation.raw / "labelsTs"), str(predictions)]
        command += ["-djfile", str(predictions / "dataset.json"), "-pfile", str(predictions / "plans.json")]
        command += ["-np", str(self.preparation.num_processes)]
        return Step("evaluate", command)
