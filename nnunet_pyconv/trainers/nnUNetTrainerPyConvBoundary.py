"""nnU-Net's default trainer with pyramidal convolutions and a loss of boundaries."""

from nnunet_pyconv.trainers.boundary import BoundaryTrainer
from nnunet_pyconv.trainers.nnUNetTrainerPyConv import nnUNetTrainerPyConv


class nnUNetTrainerPyConvBoundary(BoundaryTrainer, nnUNetTrainerPyConv):
    """Trains the network of `nnUNetTrainerPyConv` with a loss of boundaries, see `BoundaryTrainer`."""
