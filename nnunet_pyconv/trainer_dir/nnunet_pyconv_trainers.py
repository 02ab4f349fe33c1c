"""The trainers that nnU-Net's finder sees."""

from nnunet_pyconv.trainers import (
    nnUNetTrainerBoundary,
    nnUNetTrainerDistilled,
    nnUNetTrainerPyConv,
    nnUNetTrainerPyConvBottleneck,
    nnUNetTrainerPyConvBoundary,
    nnUNetTrainerPyConvDilated,
    nnUNetTrainerPyConvDistilled,
    nnUNetTrainerPyConvPaper,
    nnUNetTrainerPyConvPaperBF16,
    nnUNetTrainerPyConvSeparable,
)

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
