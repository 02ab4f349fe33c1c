"""MultiResUNet (Ibtehaz & Rahman 2020, arXiv:1902.04049), which the paper describes but does not measure."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import nn

from nnunet_pyconv.architectures.segmentation_network import Decoder, SegmentationNetwork
from nnunet_pyconv.architectures.unet import FEATURES_PER_STAGE

ALPHA = 1.67
"""How many times the filters of a U-Net's convolution the three of a block have together."""

SHARES = (0.167, 0.333, 0.5)
"""A sixth, a third and a half, rounded as by the authors; exact fractions give one filter more at 512."""


class MultiResBlock(nn.Module):
    """Three 3 x 3 convolutions in a row, which see 3, 5 and 7 pixels; their maps concatenated, with a 1 x 1 shortcut.

    Attributes:
        out_channels: Of the result, about `ALPHA` times the features: 51, 105, 212, 426 and 853 for 32 to 512.
    """

    def __init__(self, in_channels: int, features: int) -> None:
        super().__init__()
        widths = [int(ALPHA * features * share) for share in SHARES]
        self.out_channels = sum(widths)
        self.shortcut = _convolution(in_channels, self.out_channels, 1)
        self.convs = nn.ModuleList(
            nn.Sequential(_convolution(i, o, 3), nn.ReLU(inplace=True)) for i, o in pairwise([in_channels, *widths])
        )
        self.norm = nn.BatchNorm2d(self.out_channels)
        self.out = nn.Sequential(nn.ReLU(inplace=True), nn.BatchNorm2d(self.out_channels))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return `(N, out_channels, Y, X)`; x is `(N, in_channels, Y, X)`."""
        shortcut = self.shortcut(x)
        maps = []
        for conv in self.convs:
            x = conv(x)
            maps.append(x)
        result: torch.Tensor = self.out(self.norm(torch.cat(maps, dim=1)) + shortcut)
        return result


class ResPathBlock(nn.Module):
    """One piece of a ResPath: a 3 x 3 convolution with a 1 x 1 shortcut."""

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__()
        self.shortcut = _convolution(in_channels, out_channels, 1)
        self.conv = nn.Sequential(_convolution(in_channels, out_channels, 3), nn.ReLU(inplace=True))
        self.out = nn.Sequential(nn.ReLU(inplace=True), nn.BatchNorm2d(out_channels))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return `(N, out_channels, Y, X)`; x is `(N, in_channels, Y, X)`."""
        result: torch.Tensor = self.out(self.conv(x) + self.shortcut(x))
        return result


class MultiResEncoder(nn.Module):
    """The contracting path: one MultiRes block a stage, with 2 x 2 max pooling between them.

    Attributes:
        output_channels: Of each stage, full resolution first.
    """

    def __init__(self, input_channels: int, features_per_stage: Sequence[int]) -> None:
        super().__init__()
        self.output_channels: list[int] = []
        self.stages = nn.ModuleList()
        channels = input_channels
        for features in features_per_stage:
            stage = MultiResBlock(channels, features)
            self.stages.append(stage)
            channels = stage.out_channels
            self.output_channels.append(channels)
        self.pool = nn.MaxPool2d(2)

    def forward(self, x: torch.Tensor) -> list[torch.Tensor]:
        """Return each stage's feature map, full resolution first; x is `(N, input_channels, Y, X)`."""
        features = [self.stages[0](x)]
        for stage in self.stages[1:]:
            features.append(stage(self.pool(features[-1])))
        return features


class MultiResDecoder(Decoder):
    """The expanding path: transposed convolution, concatenation with the encoder's map by a ResPath, MultiRes block.

    A ResPath has one piece at the lowest of the stages that are joined, and one more at each stage above it.
    """

    def __init__(self, encoder_channels: Sequence[int], features_per_stage: Sequence[int], num_classes: int) -> None:
        upwards = list(reversed(features_per_stage[:-1]))
        stages = [MultiResBlock(2 * features, features) for features in upwards]
        super().__init__(stages[-1].out_channels, num_classes)
        self.paths = nn.ModuleList(
            nn.Sequential(*(ResPathBlock(i, o) for i, o in pairwise([channels, *[features] * length])))
            for length, (channels, features) in enumerate(
                zip(reversed(encoder_channels[:-1]), upwards, strict=True), start=1
            )
        )
        below = [encoder_channels[-1], *(stage.out_channels for stage in stages[:-1])]
        self.transpconvs = nn.ModuleList(
            nn.ConvTranspose2d(channels, features, 2, 2) for channels, features in zip(below, upwards, strict=True)
        )
        self.stages = nn.ModuleList(stages)

    def forward(self, features: list[torch.Tensor]) -> list[torch.Tensor]:
        """Return the logits of the one head; the features are those of `MultiResEncoder`."""
        x = features[-1]
        skips = reversed(features[:-1])
        for skip, path, up, stage in zip(skips, self.paths, self.transpconvs, self.stages, strict=True):
            x = stage(torch.cat([path(skip), up(x)], dim=1))
        return [self.seg_layers[0](x)]


class MultiResUNet(SegmentationNetwork):
    """MultiResUNet as its authors' Keras code builds it: MultiRes blocks for 32 to 512 filters, ResPaths of 4 to 1.

    7,238,228 parameters at 3 input channels and 1 class. The authors state 7,262,750 for theirs, where Keras counts the
    24,522 running means and variances of the batch normalisations too: the trainable ones are as many as ours. For that
    the normalisation that directly follows a convolution learns a shift but no scale, as theirs. What differs:

    - They normalise the output as well, which ties the logits of a class to a variance of one. Here the head is a 1 x 1
      convolution with a bias, as in the other networks; the bias takes the place of the shift, and only two running
      statistics are missing.
    - The sigmoid belongs to the loss and the prediction.
    - Initial weights, and momentum and epsilon of the normalisation, are torch's as in the other networks, not Keras'.
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
        encoder = MultiResEncoder(input_channels, FEATURES_PER_STAGE)
        super().__init__(
            encoder,
            MultiResDecoder(encoder.output_channels, FEATURES_PER_STAGE, num_classes),
            deep_supervision,
            strides,
        )


def _convolution(in_channels: int, out_channels: int, kernel_size: int) -> nn.Sequential:
    """Make a convolution with batch normalisation that learns a shift but no scale."""
    norm = nn.BatchNorm2d(out_channels)
    norm.register_parameter("weight", None)
    return nn.Sequential(nn.Conv2d(in_channels, out_channels, kernel_size, padding=kernel_size // 2, bias=False), norm)
