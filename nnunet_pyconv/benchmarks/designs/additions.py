"""What costs little and is tried beside the designs: a residual, normalised responses, interleaved channels."""

from __future__ import annotations

from typing import Any, Literal

import torch
from dynamic_network_architectures.building_blocks.simple_conv_blocks import ConvDropoutNormReLU
from torch import nn

from nnunet_pyconv.architectures.pyconv_unet import PyConvUNet
from nnunet_pyconv.nn import PyConv2d, PyConv3d

Addition = Literal["residual", "grn", "interleaved"]
ADDITIONS: tuple[Addition, ...] = ("residual", "grn", "interleaved")


class PyConvUNetWithAddition(PyConvUNet):
    """nnU-Net's plain U-Net, with or without pyramids, with something around each of its convolutions.

    - "residual": the input is added before the activation where it has the output's shape (He et al. 2016,
      arXiv:1512.03385, Fig. 2).
    - "grn": a global response normalisation after the activation, see `GlobalResponseNorm`.
    - "interleaved": before a pyramidal convolution, the channels of the levels before it take turns, so that each
      group sees all of them (the shuffle of Zhang et al. 2018, arXiv:1707.01083).

    Args:
        *args: As for `PyConvUNet`.
        addition: What is added.
        **kwargs: As for `PyConvUNet`.
    """

    def __init__(self, *args: Any, addition: Addition, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        for layer in [module for module in self.modules() if isinstance(module, ConvDropoutNormReLU)]:
            if addition == "residual":
                _add_residual(layer)
            elif addition == "grn":
                layer.all_modules.append(GlobalResponseNorm(layer.output_channels))
            elif isinstance(layer.conv, (PyConv2d, PyConv3d)) and layer.input_channels % len(layer.conv.levels) == 0:
                layer.all_modules.insert(0, nn.ChannelShuffle(len(layer.conv.levels)))


class GlobalResponseNorm(nn.Module):
    """Channels that respond more than the others are raised (Woo et al. 2023, arXiv:2301.00808, Algorithm 1).

    It is the identity until it has learned. Input and output: `(N, channels, [Z,] Y, X)`.

    Args:
        channels: Channels.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.gamma = nn.Parameter(torch.zeros(channels))
        self.beta = nn.Parameter(torch.zeros(channels))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Normalise."""
        of_channels = (1, -1, *(1,) * (x.dim() - 2))
        response = torch.linalg.vector_norm(x, dim=tuple(range(2, x.dim())), keepdim=True)
        relative = response / (response.mean(1, keepdim=True) + 1e-6)
        return x + self.gamma.view(of_channels) * (x * relative) + self.beta.view(of_channels)


class Residual(nn.Module):
    """The input, added to what a module makes of it.

    Args:
        body: Keeps the shape.
    """

    def __init__(self, body: nn.Module) -> None:
        super().__init__()
        self.body = body

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Add them."""
        y: torch.Tensor = self.body(x) + x
        return y


def _add_residual(layer: ConvDropoutNormReLU) -> None:
    if layer.input_channels == layer.output_channels and max(layer.stride) == 1:
        *before, activation = layer.all_modules
        layer.all_modules = nn.Sequential(Residual(nn.Sequential(*before)), activation)
