"""nnU-Net's default trainer with dilated pyramids in the network of any plans."""

from nnunet_pyconv.trainers.nnUNetTrainerPyConv import nnUNetTrainerPyConv


class nnUNetTrainerPyConvDilated(nnUNetTrainerPyConv):
    """Puts dense convolutions of kernel 3 with dilations 1, 2, 3, 4 in the place of each k x k convolution."""

    block = "dilated"
