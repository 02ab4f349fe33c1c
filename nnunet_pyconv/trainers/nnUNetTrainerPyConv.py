"""nnU-Net's default trainer with pyramidal convolutions in the network of any plans."""

from __future__ import annotations

from typing import Any, ClassVar

import torch
from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer
from nnunetv2.utilities.plans_handling.plans_handler import ConfigurationManager, PlansManager
from torch import nn

from nnunet_pyconv.architectures import PYCONV_CLASSES, SegmentationNetwork
from nnunet_pyconv.architectures.pyconv_unet import check_patch_size
from nnunet_pyconv.nn import Block, convert_to_pyconv
from nnunet_pyconv.trainers.seed import SeededTrainer


class nnUNetTrainerPyConv(SeededTrainer):
    """Trains the network of the plans with its k x k convolutions replaced by pyramidal ones.

    Everything else is nnU-Net's own recipe. Plans that name one of our networks already (`nnunet_pyconv plan`) are
    taken as they are, those of the paper's peers (`nnunet_pyconv plan --paper`) as well.

    Attributes:
        block: What takes the place of a convolution.

    Raises:
        ValueError: Plans whose patch is too small for their pyramids; nothing is written then.
    """

    block: ClassVar[Block] = "plain"

    def __init__(
        self,
        plans: dict[str, Any],
        configuration: str,
        fold: int | str,
        dataset_json: dict[str, Any],
        device: torch.device = torch.device("cuda"),  # noqa: B008  # nnU-Net's signature
    ) -> None:
        planned = PlansManager(plans).get_configuration(configuration)
        check_patch_size(planned.patch_size, planned.network_arch_init_kwargs)
        super().__init__(plans, configuration, fold, dataset_json, device)

    @classmethod
    def build_network_architecture(
        cls,
        plans_manager: PlansManager,
        configuration_manager: ConfigurationManager,
        num_input_channels: int,
        num_output_channels: int,
        enable_deep_supervision: bool = True,
    ) -> nn.Module:
        """Build the network of the plans and swap its convolutions.

        Called by nnU-Net for training and for inference, where the patch size of the plans decides alike how many
        levels each stage gets.

        Raises:
            TypeError: Plans that name a network whose convolutions can't be swapped.
        """
        network: nn.Module = nnUNetTrainer.build_network_architecture(
            plans_manager,
            configuration_manager,
            num_input_channels,
            num_output_channels,
            enable_deep_supervision,
        )
        return with_pyconv(network, configuration_manager, cls.block)


def with_pyconv(network: nn.Module, configuration_manager: ConfigurationManager, block: Block) -> nn.Module:
    """Swap the convolutions of the network of some plans, unless the plans name one of our networks.

    Raises:
        TypeError: A network whose convolutions can't be swapped.
    """
    if isinstance(network, (SegmentationNetwork, *PYCONV_CLASSES.values())):
        return network
    return convert_to_pyconv(network, patch_size=configuration_manager.patch_size, block=block)
