"""ResNet34_UNet as the paper measures it: a ResNet-34 encoder with a LinkNet decoder."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import ClassVar

import torch
from torch import nn

from nnunet_pyconv.architectures.segmentation_network import Decoder, SegmentationNetwork

FEATURES_PER_STAGE = (64, 128, 256, 512)
HEAD_CHANNELS = 32


class ResNet34Encoder(nn.Module):
    """torchvision's ResNet-34 (He et al. 2015, arXiv:1512.03385) without its classifier, under its parameter names."""

    def __init__(self, input_channels: int, pretrained: bool) -> None:
        from torchvision.models import ResNet34_Weights, resnet34  # takes seconds to import

        from nnunet_pyconv.architectures.imagenet import load_imagenet_weights

        super().__init__()
        classifier = resnet34()
        self.conv1 = nn.Conv2d(input_channels, 64, 7, stride=2, padding=3, bias=False)
        nn.init.kaiming_normal_(self.conv1.weight, mode="fan_out", nonlinearity="relu")  # as torchvision's
        self.bn1, self.relu, self.maxpool = classifier.bn1, classifier.relu, classifier.maxpool
        self.layer1, self.layer2 = classifier.layer1, classifier.layer2
        self.layer3, self.layer4 = classifier.layer3, classifier.layer4
        if pretrained:
            load_imagenet_weights(self, ResNet34_Weights.IMAGENET1K_V1)

    def forward(self, x: torch.Tensor) -> list[torch.Tensor]:
        """Return the maps of the four residual stages, at 1/4 to 1/32; x is `(N, input_channels, Y, X)`."""
        features = [self.layer1(self.maxpool(self.relu(self.bn1(self.conv1(x)))))]
        for layer in (self.layer2, self.layer3, self.layer4):
            features.append(layer(features[-1]))
        return features


class LinkNetDecoder(Decoder):
    """LinkNet's decoder (Chaurasia & Culurciello 2017, arXiv:1707.03718): skips are added, not concatenated.

    The head upsamples once more by a 4 x 4 transposed convolution, which two 3 x 3 convolutions follow.
    """

    def __init__(self, features_per_stage: Sequence[int], num_classes: int) -> None:
        super().__init__(HEAD_CHANNELS, num_classes, kernel_size=3)
        first = features_per_stage[0]
        self.stages = nn.ModuleList(_up_block(i, o) for i, o in pairwise([*reversed(features_per_stage), first]))
        self.head = nn.Sequential(
            nn.ConvTranspose2d(first, HEAD_CHANNELS, 4, stride=2, padding=1),
            nn.ReLU(inplace=True),
            nn.Conv2d(HEAD_CHANNELS, HEAD_CHANNELS, 3, padding=1),
            nn.ReLU(inplace=True),
        )

    def forward(self, features: list[torch.Tensor]) -> list[torch.Tensor]:
        """Return the logits of the one head; the features are those of `ResNet34Encoder`."""
        x = features[-1]
        for skip, stage in zip(reversed(features[:-1]), self.stages[:-1], strict=True):
            x = stage(x) + skip
        return [self.seg_layers[0](self.head(self.stages[-1](x)))]


class ResNet34UNet(SegmentationNetwork):
    """The ResNet34_UNet of the paper's Table 3.

    21,656,897 parameters at 3 input channels and 1 class.
    """

    size_multiple: ClassVar[int] = 32

    def __init__(
        self,
        input_channels: int,
        num_classes: int,
        deep_supervision: bool = False,
        strides: Sequence[Sequence[int]] | None = None,
        pretrained: bool = False,
    ) -> None:
        """Build the network.

        Args:
            input_channels: Channels of the image.
            num_classes: Channels of the logits.
            deep_supervision: Whether to answer with a list, see `SegmentationNetwork`.
            strides: For plans only, see `SegmentationNetwork`.
            pretrained: Whether the encoder starts from torchvision's ImageNet weights. Plans can carry it, but then
                prediction needs the download as well.

        Raises:
            RuntimeError: ImageNet weights that can't be downloaded.
        """
        super().__init__(
            ResNet34Encoder(input_channels, pretrained),
            LinkNetDecoder(FEATURES_PER_STAGE, num_classes),
            deep_supervision,
            strides,
        )


def _up_block(in_channels: int, out_channels: int) -> nn.Sequential:
    """Make LinkNet's block, which doubles the resolution in a quarter of the channels."""
    middle = in_channels // 4
    return nn.Sequential(
        nn.Conv2d(in_channels, middle, 1),
        nn.BatchNorm2d(middle),
        nn.ReLU(inplace=True),
        nn.ConvTranspose2d(middle, middle, 3, stride=2, padding=1, output_padding=1),
        nn.BatchNorm2d(middle),
        nn.ReLU(inplace=True),
        nn.Conv2d(middle, out_channels, 1),
        nn.BatchNorm2d(out_channels),
        nn.ReLU(inplace=True),
    )
