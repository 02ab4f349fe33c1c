"""Knowledge distillation: soft outputs of trained models as targets of another one."""

from nnunet_pyconv.distillation.loss import DistillationLoss
from nnunet_pyconv.distillation.matching import ModelPlans, check_same_task
from nnunet_pyconv.distillation.teacher import Teacher, load_teacher
from nnunet_pyconv.distillation.teacher_name import TEACHER_VARIABLE, TeacherName
from nnunet_pyconv.distillation.unseen_cases import UnseenCases, check_not_seen

__all__ = [
    "TEACHER_VARIABLE",
    "DistillationLoss",
    "ModelPlans",
    "Teacher",
    "TeacherName",
    "UnseenCases",
    "check_not_seen",
    "check_same_task",
    "load_teacher",
]
