"""FCN8s (Shelhamer et al. 2017, arXiv:1605.06211) as the paper measures it."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import ClassVar

import torch
from torch import nn

from nnunet_pyconv.architectures.segmentation_network import Decoder, SegmentationNetwork

VGG16_STAGES = ((64, 64), (128, 128), (256, 256, 256), (512, 512, 512), (512, 512, 512))


class VGG16Encoder(nn.Module):
    """The convolutions of VGG16 (Simonyan & Zisserman 2014, arXiv:1409.1556), under torchvision's parameter names.

    torchvision's own class would first make the 120 million weights of a classifier that is not wanted here.
    """

    def __init__(self, input_channels: int, pretrained: bool) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        channels = input_channels
        for stage in VGG16_STAGES:
            for out_channels in stage:
                layers += [nn.Conv2d(channels, out_channels, 3, padding=1), nn.ReLU(inplace=True)]
                channels = out_channels
            layers.append(nn.MaxPool2d(2))
        self.features = nn.ModuleList(layers)
        for layer in self.features:
            if isinstance(layer, nn.Conv2d):  # as torchvision's; without normalisation torch's default would fade out
                nn.init.kaiming_normal_(layer.weight, mode="fan_out", nonlinearity="relu")
                nn.init.zeros_(layer.bias)  # type: ignore[arg-type]
        if pretrained:
            from torchvision.models import VGG16_Weights  # takes seconds to import

            from nnunet_pyconv.architectures.imagenet import load_imagenet_weights

            load_imagenet_weights(self, VGG16_Weights.IMAGENET1K_V1)

    def forward(self, x: torch.Tensor) -> list[torch.Tensor]:
        """Return the pooled maps of the last three stages, at 1/8 to 1/32; x is `(N, input_channels, Y, X)`."""
        pooled = []
        for layer in self.features:
            x = layer(x)
            if isinstance(layer, nn.MaxPool2d):
                pooled.append(x)
        return pooled[-3:]


class FCN8sDecoder(Decoder):
    """Five 3 x 3 transposed convolutions, each with ReLU and batch normalisation; skips are added at 1/16 and 1/8."""

    def __init__(self, num_classes: int) -> None:
        super().__init__(32, num_classes)
        widths = list(pairwise((512, 512, 256, 128, 64, 32)))
        self.ups = nn.ModuleList(
            nn.Sequential(
                nn.ConvTranspose2d(below, here, 3, stride=2, padding=1, output_padding=1), nn.ReLU(inplace=True)
            )
            for below, here in widths
        )
        self.norms = nn.ModuleList(nn.BatchNorm2d(here) for _, here in widths)

    def forward(self, features: list[torch.Tensor]) -> list[torch.Tensor]:
        """Return the logits of the one head; the features are those of `VGG16Encoder`."""
        *skips, x = features
        for up, norm in zip(self.ups, self.norms, strict=True):
            x = up(x)
            if skips:
                x = x + skips.pop()
            x = norm(x)
        return [self.seg_layers[0](x)]


class FCN8s(SegmentationNetwork):
    """The FCN8s of the paper's Table 3: VGG16 without batch normalisation, and a decoder that learns to upsample.

    18,643,713 parameters at 3 input channels and 1 class.
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
        super().__init__(VGG16Encoder(input_channels, pretrained), FCN8sDecoder(num_classes), deep_supervision, strides)
