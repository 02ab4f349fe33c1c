"""nnU-Net's default trainer with a loss of boundaries."""

from nnunet_pyconv.trainers.boundary import BoundaryTrainer


class nnUNetTrainerBoundary(BoundaryTrainer):
    """Trains the network of the plans as it is, see `BoundaryTrainer`: the stock networks, or ours by our plans."""
