"""What names a teacher: a trained model's folder and its folds."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

TEACHER_VARIABLE = "NNUNET_PYCONV_TEACHER"
"""The environment variable that names the teacher: `MODEL_FOLDER` or `MODEL_FOLDER:FOLD,FOLD,...`."""

_FOLDS = re.compile(r"(\d+|all)(,(\d+|all))*")


@dataclass(frozen=True)
class TeacherName:
    """A trained model, as `NNUNET_PYCONV_TEACHER` names it.

    Attributes:
        folder: Its folder, `nnUNet_results/DATASET/TRAINER__PLANS__CONFIGURATION`.
        folds: Its folds, whose outputs are averaged: numbers or `all`.
    """

    folder: Path
    folds: tuple[str, ...]

    @classmethod
    def parse(cls, text: str, student_fold: int | str) -> TeacherName:
        """Read `MODEL_FOLDER` or `MODEL_FOLDER:FOLD,FOLD,...`.

        Args:
            text: The name; without folds, the teacher has the student's.
            student_fold: The fold that the student is trained on.
        """
        folder, _, folds = text.rpartition(":")
        if not (folder and _FOLDS.fullmatch(folds)):  # a colon may belong to the folder
            folder, folds = text, str(student_fold)
        return cls(Path(folder).expanduser().absolute(), tuple(dict.fromkeys(folds.split(","))))

    def fold_folder(self, fold: str) -> Path:
        """Return the folder of a fold."""
        return self.folder / f"fold_{fold}"

    def __str__(self) -> str:
        return f"{self.folder}:{','.join(self.folds)}"
