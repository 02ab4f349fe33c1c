"""nnU-Net's default trainer with separable pyramids in the network of any plans."""

from nnunet_pyconv.trainers.nnUNetTrainerPyConv import nnUNetTrainerPyConv


class nnUNetTrainerPyConvSeparable(nnUNetTrainerPyConv):
    """Puts depthwise kernels 3, 5, 7, 9 and a 1 x 1 convolution in the place of each k x k convolution."""

    block = "separable"
