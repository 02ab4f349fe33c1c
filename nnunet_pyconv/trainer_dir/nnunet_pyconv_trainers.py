"""The trainers that nnU-Net's finder sees."""

from nnunet_pyconv.trainers import (
    nnUNetTrainerDistilled,
    nnUNetTrainerPyConv,
    nnUNetTrainerPyConvBottleneck,
    nnUNetTrainerPyConvDilated,
    nnUNetTrainerPyConvDistilled,
    nnUNetTrainerPyConvPaper,
    nnUNetTrainerPyConvPaperBF16,
    nnUNetTrainerPyConvSeparable,
)

__all__ = [
    "nnUNetTrainerDistilled",
    "nnUNetTrainerPyConv",
    "nnUNetTrainerPyConvBottleneck",
    "nnUNetTrainerPyConvDilated",
    "nnUNetTrainerPyConvDistilled",
    "nnUNetTrainerPyConvPaper",
    "nnUNetTrainerPyConvPaperBF16",
    "nnUNetTrainerPyConvSeparable",
]
