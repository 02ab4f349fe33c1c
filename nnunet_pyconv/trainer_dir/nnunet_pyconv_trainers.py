"""The trainers that nnU-Net's finder sees."""

from nnunet_pyconv.trainers import nnUNetTrainerPyConv, nnUNetTrainerPyConvPaper

__all__ = ["nnUNetTrainerPyConv", "nnUNetTrainerPyConvPaper"]
