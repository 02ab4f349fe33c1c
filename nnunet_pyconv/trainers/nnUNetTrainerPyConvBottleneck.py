"""nnU-Net's default trainer with pyramidal bottlenecks in the network of any plans."""

from __future__ import annotations

from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer
from nnunetv2.utilities.plans_handling.plans_handler import ConfigurationManager, PlansManager
from torch import nn

from nnunet_pyconv.trainers.nnUNetTrainerPyConv import nnUNetTrainerPyConv, with_pyconv


class nnUNetTrainerPyConvBottleneck(nnUNetTrainerPyConv):
    """Puts 1 x 1, PyConv on a quarter of the channels and 1 x 1 in the place of each k x k convolution."""

    @staticmethod
    def build_network_architecture(
        plans_manager: PlansManager,
        configuration_manager: ConfigurationManager,
        num_input_channels: int,
        num_output_channels: int,
        enable_deep_supervision: bool = True,
    ) -> nn.Module:
        """Build the network of the plans and swap its convolutions, see `nnUNetTrainerPyConv`."""
        network: nn.Module = nnUNetTrainer.build_network_architecture(
            plans_manager, configuration_manager, num_input_channels, num_output_channels, enable_deep_supervision
        )
        return with_pyconv(network, configuration_manager, block="bottleneck")
