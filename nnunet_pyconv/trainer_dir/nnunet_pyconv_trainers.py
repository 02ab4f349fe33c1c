"""The trainers that nnU-Net's finder sees."""

from nnunet_pyconv.trainers import nnUNetTrainerPyConv, nnUNetTrainerPyConvBottleneck, nnUNetTrainerPyConvPaper

__all__ = ["nnUNetTrainerPyConv", "nnUNetTrainerPyConvBottleneck", "nnUNetTrainerPyConvPaper"]
