"""Attention U-Net (Oktay et al. 2018, arXiv:1804.03999) as the paper measures it."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import nn

from nnunet_pyconv.architectures.segmentation_network import Decoder, SegmentationNetwork
from nnunet_pyconv.architectures.unet import UNetEncoder, double_convolution

FEATURES_PER_STAGE = (64, 128, 256, 512, 1024)


class AttentionGate(nn.Module):
    """Additive attention: weighs each pixel of a skip connection by a gating signal of the same resolution."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        middle = channels // 2
        self.from_gate = _projection(channels, middle)
        self.from_skip = _projection(channels, middle)
        self.relu = nn.ReLU(inplace=True)
        self.weight = nn.Sequential(_projection(middle, 1), nn.Sigmoid())

    def forward(self, gate: torch.Tensor, skip: torch.Tensor) -> torch.Tensor:
        """Return the weighed skip; gate, skip and result are `(N, channels, Y, X)`."""
        weight: torch.Tensor = self.weight(self.relu(self.from_gate(gate) + self.from_skip(skip)))
        return skip * weight


class AttentionDecoder(Decoder):
    """U-Net's expanding path with nearest-neighbour upsampling and a gate before each concatenation."""

    def __init__(self, features_per_stage: Sequence[int], num_classes: int) -> None:
        super().__init__(features_per_stage[0], num_classes)
        upwards = list(pairwise(reversed(features_per_stage)))
        self.ups = nn.ModuleList(_up_convolution(below, here) for below, here in upwards)
        self.gates = nn.ModuleList(AttentionGate(here) for _, here in upwards)
        self.stages = nn.ModuleList(double_convolution(2 * here, here) for _, here in upwards)

    def forward(self, features: list[torch.Tensor]) -> list[torch.Tensor]:
        """Return the logits of the one head; the features are those of `UNetEncoder`."""
        x = features[-1]
        skips = reversed(features[:-1])
        for skip, up, gate, stage in zip(skips, self.ups, self.gates, self.stages, strict=True):
            x = up(x)
            x = stage(torch.cat([gate(x, skip), x], dim=1))
        return [self.seg_layers[0](x)]


class AttentionUNet(SegmentationNetwork):
    """The Attention U-Net of the paper's Table 3: 64 to 1024 channels.

    34,878,573 parameters at 3 input channels and 1 class.
    """

    def __init__(
        self,
        input_channels: int,
        num_classes: int,
        deep_supervision: bool = False,
        strides: Sequence[Sequence[int]] | None = None,
    ) -> None:
        """Build the network.

        Args:
            input_channels: Channels of the image.
            num_classes: Channels of the logits.
            deep_supervision: Whether to answer with a list, see `SegmentationNetwork`.
            strides: For plans only, see `SegmentationNetwork`.
        """
        super().__init__(
            UNetEncoder(input_channels, FEATURES_PER_STAGE),
            AttentionDecoder(FEATURES_PER_STAGE, num_classes),
            deep_supervision,
            strides,
        )


def _projection(in_channels: int, out_channels: int) -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(in_channels, out_channels, 1), nn.BatchNorm2d(out_channels))


def _up_convolution(in_channels: int, out_channels: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Upsample(scale_factor=2),
        nn.Conv2d(in_channels, out_channels, 3, padding=1),
        nn.BatchNorm2d(out_channels),
        nn.ReLU(inplace=True),
    )
