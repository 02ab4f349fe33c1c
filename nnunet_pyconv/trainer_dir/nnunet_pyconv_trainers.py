"""The trainers that nnU-Net's finder sees."""

from nnunet_pyconv.trainers import (
    nnUNetTrainerPyConv,
    nnUNetTrainerPyConvBottleneck,
    nnUNetTrainerPyConvDilated,
    nnUNetTrainerPyConvPaper,
    nnUNetTrainerPyConvSeparable,
)

__all__ = [
    "nnUNetTrainerPyConv",
    "nnUNetTrainerPyConvBottleneck",
    "nnUNetTrainerPyConvDilated",
    "nnUNetTrainerPyConvPaper",
    "nnUNetTrainerPyConvSeparable",
]
