"""nnU-Net's default trainer with pyramidal convolutions and a teacher."""

from nnunet_pyconv.trainers.distilled import DistilledTrainer
from nnunet_pyconv.trainers.nnUNetTrainerPyConv import nnUNetTrainerPyConv


class nnUNetTrainerPyConvDistilled(DistilledTrainer, nnUNetTrainerPyConv):
    """Trains the network of `nnUNetTrainerPyConv` with a teacher, see `DistilledTrainer`."""
