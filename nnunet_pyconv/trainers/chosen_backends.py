"""The backends of PyConv layers on a GPU: chosen before nnU-Net's compiled network is traced."""

from __future__ import annotations

import torch

from nnunet_pyconv.nn.ahead import Use, choose_ahead, describe_choices
from nnunet_pyconv.trainers.robust_checkpoints import RobustCheckpoints
from nnunet_pyconv.trainers.unwrapped import unwrapped


class ChosenBackends(RobustCheckpoints):
    """nnU-Net's trainer, which tries the backends of the PyConv layers on its GPU before it trains.

    Tried are a training step and a validation of the plans' batch, and one patch, as the final validation and a
    prediction on this machine have it, in the half precision in which nnU-Net trains on a GPU. The first training of
    such plans takes a minute or so for it; later ones read the choices (`nnunet_pyconv doctor` tells where they are).
    """

    def initialize(self) -> None:
        """Let nnU-Net make network, optimiser and loss, then choose; `torch.compile` traces at the first step."""
        super().initialize()
        network = unwrapped(self.network)
        patch = (self.num_input_channels, *self.configuration_manager.patch_size)
        batch = (self.batch_size, *patch)
        uses = (Use(batch, trained=True), Use(batch, trained=False), Use((1, *patch), trained=False))
        with torch.autocast("cuda", enabled=self.device.type == "cuda"):
            choices = choose_ahead(network, uses, self.device)
        if choices:
            self.print_to_log_file(describe_choices(choices, self.device))
