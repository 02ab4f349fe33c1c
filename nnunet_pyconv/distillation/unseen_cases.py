"""Whether a teacher has seen what its student is scored on."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from batchgenerators.utilities.file_and_folder_operations import load_json
from nnunetv2.paths import nnUNet_preprocessed, nnUNet_raw
from nnunetv2.utilities.utils import get_identifiers_from_splitted_dataset_folder

from nnunet_pyconv.distillation.matching import ModelPlans
from nnunet_pyconv.distillation.teacher import Teacher
from nnunet_pyconv.distillation.teacher_name import TEACHER_VARIABLE, TeacherName
from nnunet_pyconv.errors import InputError

Cases = frozenset[str]


@dataclass(frozen=True)
class UnseenCases:
    """The cases that a student is scored on and not trained on.

    Attributes:
        dataset: Name of the student's dataset.
        fold: The student's fold.
        validation: Cases of the fold; none for the fold `all`, which nnU-Net validates on what it trains on.
        test: Cases in `imagesTs` of the raw dataset; none where that is not on this machine.
    """

    dataset: str
    fold: str
    validation: Cases
    test: Cases

    @classmethod
    def of(
        cls, student: ModelPlans, fold: int | str, training: Iterable[str], validation: Iterable[str]
    ) -> UnseenCases:
        """Take the cases of a fold's split and the test cases of the student's dataset."""
        dataset = student.plans.dataset_name
        test: Cases = frozenset()
        if nnUNet_raw.is_set() and (images := Path(nnUNet_raw.get()) / dataset / "imagesTs").is_dir():
            ending = student.dataset_json["file_ending"]
            test = frozenset(map(str, get_identifiers_from_splitted_dataset_folder(str(images), ending)))
        return cls(dataset, str(fold), frozenset(validation) - frozenset(training), test)


def check_not_seen(teacher: Teacher, unseen: UnseenCases) -> None:
    """Check that no fold of the teacher was trained on a case that its student is scored on.

    Cases are the same where their names are: of a teacher of another dataset nothing more is known.

    Raises:
        InputError: A fold has seen such a case, or what it has seen can't be known.
    """
    if not unseen.validation | unseen.test:
        return
    seen = {fold: _training_cases(teacher, fold) for fold in teacher.name.folds}
    for kind, cases in (("validation", unseen.validation), ("test", unseen.test)):
        leaking = {fold: cases & trained for fold, trained in seen.items() if cases & trained}
        if leaking:
            examples = sorted(set().union(*leaking.values()))
            raise InputError(
                f"{TEACHER_VARIABLE}={teacher.name}: fold {', '.join(leaking)} of the teacher was trained on "
                f"{len(examples)} of the student's {len(cases)} {kind} cases ({', '.join(examples[:3])}"
                f"{', ...' if len(examples) > 3 else ''}). The student would learn them from its teacher, and its "
                f"score would say nothing of new images. {_advice(teacher, kind, unseen, leaking)}"
            )


def _advice(teacher: Teacher, kind: str, unseen: UnseenCases, leaking: dict[str, Cases]) -> str:
    dataset = teacher.planned.plans.dataset_name
    if dataset != unseen.dataset:
        return (
            f"The teacher's dataset is another one, {dataset}, so cases are compared by name: if these are other "
            "images, rename them in one of the datasets; else train a teacher without them"
        )
    if kind == "test":
        return "Train a teacher without them; if these are other images of the same names, rename those in imagesTs"
    to_all = "train the student with the fold all and score it on test cases"
    if unseen.fold in leaking:
        return f"Train a teacher on the student's fold {unseen.fold}, or {to_all}"
    same_fold = TeacherName(teacher.name.folder, (unseen.fold,))
    return f"Use the teacher's fold {unseen.fold} ({TEACHER_VARIABLE}={same_fold}), or {to_all}"


def _training_cases(teacher: Teacher, fold: str) -> Cases:
    """Return the cases that a fold of the teacher was trained on.

    They are those of the split, which lies with the preprocessed data and may have changed since. What the teacher's
    own validation was made of tells: if it isn't the split's, all other cases of the dataset count as seen.

    Raises:
        InputError: The teacher's dataset is not on this machine, or neither tells.
    """
    dataset = teacher.planned.plans.dataset_name
    folder = Path(nnUNet_preprocessed.get()) / dataset
    ending = teacher.planned.dataset_json["file_ending"]
    all_cases = frozenset(file.name.removesuffix(ending) for file in folder.glob(f"gt_segmentations/*{ending}"))
    if fold == "all" and all_cases:
        return all_cases
    validated = _validated_cases(teacher.name.fold_folder(fold) / "validation" / "summary.json", ending)
    splits = _splits(folder / "splits_final.json")
    if fold != "all" and int(fold) < len(splits):
        train, val = splits[int(fold)]
        if validated is None or validated == val:
            return train
    if all_cases and validated is not None:
        return all_cases - validated
    raise InputError(
        f"{TEACHER_VARIABLE}={teacher.name}: what fold {fold} of the teacher was trained on can't be known, and it "
        f"may be what the student is scored on. Expected {folder} with gt_segmentations and splits_final.json as they "
        "were when the teacher was trained; bring them here, or validate the teacher's fold with nnUNetv2_train --val"
    )


def _validated_cases(summary: Path, ending: str) -> Cases | None:
    """Return the cases of nnU-Net's `summary.json`; None where there is none, as after an interrupted validation."""
    if not summary.is_file():
        return None
    try:
        cases = load_json(str(summary))["metric_per_case"]
        return frozenset(Path(case["prediction_file"]).name.removesuffix(ending) for case in cases)
    except (ValueError, KeyError, TypeError) as error:
        raise InputError(
            f"{summary} is no summary of nnU-Net ({error!r}); validate the teacher again, with --val"
        ) from error


def _splits(file: Path) -> list[tuple[Cases, Cases]]:
    """Return the training and validation cases of each fold; none where there is no file."""
    if not file.is_file():
        return []
    try:
        return [(frozenset(split["train"]), frozenset(split["val"])) for split in load_json(str(file))]
    except (ValueError, KeyError, TypeError) as error:
        raise InputError(f"{file} holds no splits of nnU-Net ({error!r}); restore it from a copy") from error
