"""The paper's U-Net, and the parts that its other networks take from it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import pairwise

import torch
from torch import nn

from nnunet_pyconv.architectures.segmentation_network import Decoder, SegmentationNetwork

Block = Callable[[int, int], nn.Module]
"""Makes the convolutions of a stage from its input and output channels."""

FEATURES_PER_STAGE = (32, 64, 128, 256, 512)


def double_convolution(in_channels: int, out_channels: int) -> nn.Sequential:
    """Make the block of a U-Net: twice a 3 x 3 convolution with bias, batch normalisation and ReLU."""
    layers: list[nn.Module] = []
    for channels in (in_channels, out_channels):
        layers += [
            nn.Conv2d(channels, out_channels, 3, padding=1),
            nn.BatchNorm2d(out_channels),
            nn.ReLU(inplace=True),
        ]
    return nn.Sequential(*layers)


class UNetEncoder(nn.Module):
    """The contracting path: one block a stage, with 2 x 2 max pooling between them."""

    def __init__(
        self, input_channels: int, features_per_stage: Sequence[int], block: Block = double_convolution
    ) -> None:
        super().__init__()
        self.stages = nn.ModuleList(block(i, o) for i, o in pairwise([input_channels, *features_per_stage]))
        self.pool = nn.MaxPool2d(2)

    def forward(self, x: torch.Tensor) -> list[torch.Tensor]:
        """Return each stage's feature map, full resolution first; x is `(N, input_channels, Y, X)`."""
        features = [self.stages[0](x)]
        for stage in self.stages[1:]:
            features.append(stage(self.pool(features[-1])))
        return features


class UNetDecoder(Decoder):
    """The expanding path: 2 x 2 transposed convolution, concatenation with the encoder's map, one block."""

    def __init__(self, features_per_stage: Sequence[int], num_classes: int, block: Block = double_convolution) -> None:
        super().__init__(features_per_stage[0], num_classes)
        upwards = list(pairwise(reversed(features_per_stage)))
        self.transpconvs = nn.ModuleList(nn.ConvTranspose2d(below, here, 2, 2) for below, here in upwards)
        self.stages = nn.ModuleList(block(2 * here, here) for _, here in upwards)

    def forward(self, features: list[torch.Tensor]) -> list[torch.Tensor]:
        """Return the logits of the one head; the features are those of `UNetEncoder`."""
        x = features[-1]
        for skip, up, stage in zip(reversed(features[:-1]), self.transpconvs, self.stages, strict=True):
            x = stage(torch.cat([skip, up(x)], dim=1))
        return [self.seg_layers[0](x)]


class UNet(SegmentationNetwork):
    """The U-Net of the paper's Table 3: 32 to 512 channels, "same" padding, batch normalisation.

    7,765,985 parameters at 3 input channels and 1 class.
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
            UNetDecoder(FEATURES_PER_STAGE, num_classes),
            deep_supervision,
            strides,
        )
