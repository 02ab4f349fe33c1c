"""nnU-Net's default trainer with a teacher."""

from nnunet_pyconv.trainers.distilled import DistilledTrainer


class nnUNetTrainerDistilled(DistilledTrainer):
    """Trains the network of the plans as it is, see `DistilledTrainer`: the stock networks, or ours by our plans."""
