"""nnU-Net's default trainer with pyramidal bottlenecks in the network of any plans."""

from nnunet_pyconv.trainers.nnUNetTrainerPyConv import nnUNetTrainerPyConv


class nnUNetTrainerPyConvBottleneck(nnUNetTrainerPyConv):
    """Puts 1 x 1, PyConv on a quarter of the channels and 1 x 1 in the place of each k x k convolution."""

    block = "bottleneck"
