"""The bottleneck around a pyramidal convolution: 1 x 1, PyConv, 1 x 1."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable

from torch import nn

from nnunet_pyconv.nn.pyconv import PyConv

REDUCTION = 4


class PyConvBottleneck(nn.Sequential):
    """Reduce the channels by a 1 x 1 convolution, convolve in a pyramid, expand them by a 1 x 1 convolution.

    Normalisation and activation follow the first two, as in the bottleneck block of PyConv's authors (Duta et al.,
    arXiv:2006.11538, Fig. 4); what follows the last one is left to the network. With a quarter of the channels in the
    middle, it multiplies a seventh (64 channels) to a tenth (from 256 on) as often as a 3 x 3 convolution.

    `(N, in_channels, [Z,] Y, X)` becomes `(N, out_channels, [Z',] Y', X')`; the stride is that of the middle.
    """

    def __init__(
        self,
        in_channels: int,
        middle: PyConv,
        out_channels: int,
        *,
        norm: Callable[[int], nn.Module] | None,
        nonlin: Callable[[], nn.Module] | None,
        bias: bool,
    ) -> None:
        """Build it around a pyramidal convolution.

        Args:
            in_channels: Channels of the input.
            middle: The pyramidal convolution.
            out_channels: Channels of the output.
            norm: Makes a normalisation for so many channels, or None for none.
            nonlin: Makes an activation, or None for none.
            bias: Whether the 1 x 1 convolutions have a bias.
        """
        steps: OrderedDict[str, nn.Module] = OrderedDict()

        def add(name: str, convolution: nn.Module, channels: int) -> None:
            steps[name] = convolution
            if norm is not None:
                steps[f"{name}_norm"] = norm(channels)
            if nonlin is not None:
                steps[f"{name}_nonlin"] = nonlin()

        add("reduce", middle.conv(in_channels, middle.in_channels, 1, bias=bias), middle.in_channels)
        add("pyconv", middle, middle.out_channels)
        steps["expand"] = middle.conv(middle.out_channels, out_channels, 1, bias=bias)
        super().__init__(steps)

    @staticmethod
    def middle_channels(out_channels: int) -> int:
        """Return the channels of the middle for a block with so many outputs: a quarter, at least 1."""
        return max(1, out_channels // REDUCTION)
