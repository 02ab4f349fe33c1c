"""Thin subclasses of nnU-Net's trainer; nnU-Net finds them through `nnunet_pyconv trainer_dir`."""

from nnunet_pyconv.trainers.nnUNetTrainerBoundary import nnUNetTrainerBoundary
from nnunet_pyconv.trainers.nnUNetTrainerDistilled import nnUNetTrainerDistilled
from nnunet_pyconv.trainers.nnUNetTrainerPyConv import nnUNetTrainerPyConv
from nnunet_pyconv.trainers.nnUNetTrainerPyConvBottleneck import nnUNetTrainerPyConvBottleneck
from nnunet_pyconv.trainers.nnUNetTrainerPyConvBoundary import nnUNetTrainerPyConvBoundary
from nnunet_pyconv.trainers.nnUNetTrainerPyConvDilated import nnUNetTrainerPyConvDilated
from nnunet_pyconv.trainers.nnUNetTrainerPyConvDistilled import nnUNetTrainerPyConvDistilled
from nnunet_pyconv.trainers.nnUNetTrainerPyConvPaper import nnUNetTrainerPyConvPaper
from nnunet_pyconv.trainers.nnUNetTrainerPyConvPaperBF16 import nnUNetTrainerPyConvPaperBF16
from nnunet_pyconv.trainers.nnUNetTrainerPyConvSeparable import nnUNetTrainerPyConvSeparable

__all__ = [
    "nnUNetTrainerBoundary",
    "nnUNetTrainerDistilled",
    "nnUNetTrainerPyConv",
    "nnUNetTrainerPyConvBottleneck",
    "nnUNetTrainerPyConvBoundary",
    "nnUNetTrainerPyConvDilated",
    "nnUNetTrainerPyConvDistilled",
    "nnUNetTrainerPyConvPaper",
    "nnUNetTrainerPyConvPaperBF16",
    "nnUNetTrainerPyConvSeparable",
]
