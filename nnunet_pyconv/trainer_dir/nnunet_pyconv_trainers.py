"""The trainers that nnU-Net's finder sees."""

from nnunet_pyconv.trainers import (
    nnUNetTrainerDistilled,
    nnUNetTrainerPyConv,
    nnUNetTrainerPyConvBottleneck,
    nnUNetTrainerPyConvDistilled,
    nnUNetTrainerPyConvPaper,
)

__all__ = [
    "nnUNetTrainerDistilled",
    "nnUNetTrainerPyConv",
    "nnUNetTrainerPyConvBottleneck",
    "nnUNetTrainerPyConvDistilled",
    "nnUNetTrainerPyConvPaper",
]
