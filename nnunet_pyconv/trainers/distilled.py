"""Trainers that learn from a trained model beside the labels."""

from __future__ import annotations

import os
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import torch
from torch import nn

from nnunet_pyconv.distillation import (
    TEACHER_VARIABLE,
    DistillationLoss,
    ModelPlans,
    Teacher,
    TeacherName,
    UnseenCases,
    check_not_seen,
    check_same_task,
    load_teacher,
)
from nnunet_pyconv.errors import InputError
from nnunet_pyconv.trainers.seed import SeededTrainer

TEACHER_KEY = "nnunet_pyconv_teacher"
"""The teacher's name among a checkpoint's `init_args`, of which nnU-Net reads `configuration` only."""


class DistilledTrainer(SeededTrainer):
    """nnU-Net's trainer, with the soft outputs of a trained model beside the labels (Hinton et al. 2015).

    The environment variable `NNUNET_PYCONV_TEACHER` names the teacher: the folder of any trained model of nnU-Net,
    `nnUNet_results/DATASET/TRAINER__PLANS__CONFIGURATION`, which has the student's fold then, or with folds,
    `FOLDER:0,1,2`, the outputs of which are averaged. Its name is kept in nnU-Net's `debug.json` and in checkpoints.

    - **Loss.** See `DistillationLoss`. The validation loss is that of the labels alone, as without a teacher.
    - **Teacher.** It sees each augmented patch as the student does, in evaluation mode and without gradients. Its
      network, patch size and deep supervision may be others. Images must be preprocessed for both alike and the labels
      be the same (`check_same_task`).
    - **No leak.** A teacher that was trained on what the student is scored on is refused (`check_not_seen`).
    - **Where it is needed.** In training alone: not for `--val`, and not for prediction. `--c` goes on with the teacher
      of the checkpoint where the variable is not set.
    - **Several GPUs.** Each has a teacher of its own.
    - **Not with a cascade.**

    Attributes:
        soft_weight: Weight of the teacher, 1 less that of the labels. Hinton et al. 2015 give the labels a relative
            weight of 0.5 (section 4.1).
        temperature: Temperature of the soft outputs. Hinton et al. tried 1, 2, 5 and 10 there, and found that small
            students want low ones (section 3).
        teacher_name: The teacher, None before the training begins.
    """

    soft_weight: float = 0.5
    temperature: float = 2.0
    teacher_name: TeacherName | None = None
    teacher: Teacher

    def on_train_start(self) -> None:
        """Load the teacher and check it, then start as nnU-Net does.

        Raises:
            InputError: No teacher, or one that can't teach this student, see `load_teacher`, `check_same_task` and
                `check_not_seen`.
        """
        self.teacher = self._checked_teacher()
        super().on_train_start()

    def train_step(self, batch: dict[str, Any]) -> dict[str, Any]:
        """Give the teacher's logits to nnU-Net's step as a further target."""
        images, labels = batch["data"].to(self.device, non_blocking=True), batch["target"]
        with torch.autocast("cuda") if self.device.type == "cuda" else nullcontext():  # as in nnU-Net's step
            logits = self.teacher(images)
        targets = [*labels, logits] if isinstance(labels, list) else [labels, logits]
        return super().train_step({**batch, "data": images, "target": targets})

    def _build_loss(self) -> nn.Module:
        return DistillationLoss(
            super()._build_loss(),
            soft_weight=self.soft_weight,
            temperature=self.temperature,
            regions=self.label_manager.has_regions,
        )

    def _checked_teacher(self) -> Teacher:
        given, kept = os.environ.get(TEACHER_VARIABLE), self.my_init_kwargs.get(TEACHER_KEY)
        if not (named := given or kept):
            raise InputError(
                f"{type(self).__name__} learns from a trained model, and {TEACHER_VARIABLE} is not set; set it to the "
                f"folder of one, for example: export {TEACHER_VARIABLE}=$nnUNet_results/"
                f"{self.plans_manager.dataset_name}/nnUNetTrainer__nnUNetPlans__{self.configuration_name}"
            )
        self.teacher_name = TeacherName.parse(named, self.fold)
        if Path(self.output_folder) in map(self.teacher_name.fold_folder, self.teacher_name.folds):
            raise InputError(
                f"the teacher {self.teacher_name} is the model that is to be trained, and would be overwritten; name "
                "another one, or copy its folder first"
            )
        student = ModelPlans(self.plans_manager, self.configuration_name, self.dataset_json)
        teacher = load_teacher(self.teacher_name, self.device)
        check_same_task(teacher.planned, student)
        unseen = UnseenCases.of(student, self.fold, *self.do_split())
        check_not_seen(teacher, unseen)
        if kept not in (None, str(self.teacher_name)):
            self.print_to_log_file(f"WARNING: until now the teacher was {kept}")
        self.my_init_kwargs = {**self.my_init_kwargs, TEACHER_KEY: str(self.teacher_name)}
        patch_size = self.configuration_manager.patch_size
        self.print_to_log_file(
            f"Teacher: {self.teacher_name}, {teacher.planned}, trained by {teacher.trainer_name}.\n"
            f"By their names it has seen none of {len(unseen.validation)} validation cases and {len(unseen.test)} test "
            f"cases. It is given patches of {teacher.padded_size(patch_size)}; its own are "
            f"{teacher.planned.configuration.patch_size}. Weight {self.soft_weight}, temperature {self.temperature}."
        )
        return teacher
