"""The separable block: a depthwise pyramid, then a 1 x 1 convolution."""

from __future__ import annotations

from collections import OrderedDict

from torch import nn

from nnunet_pyconv.nn.pyconv import PyConv


class PyConvSeparable(nn.Sequential):
    """Convolve each share of the channels with a kernel of its own, then mix all channels by a 1 x 1 convolution.

    The depthwise pyramid is MixConv (Tan and Le 2019, arXiv:1907.09595); MK-UNet (Rahman and Marculescu 2025,
    arXiv:2509.18493) has such convolutions in a U-Net. Between the two steps there is neither normalisation nor
    activation, as in Xception (Chollet 2017, arXiv:1610.02357), so that a bias is that of the second step alone. From
    64 channels on, the block multiplies about a fifth to an eighth as often as a 3 x 3 convolution.

    `(N, in_channels, [Z,] Y, X)` becomes `(N, out_channels, [Z',] Y', X')`; the stride is that of the pyramid.
    """

    def __init__(self, depthwise: PyConv, out_channels: int, *, bias: bool) -> None:
        """Build it around a depthwise pyramid.

        Args:
            depthwise: The depthwise pyramid, without bias.
            out_channels: Channels of the output.
            bias: Whether the 1 x 1 convolution has a bias.

        Raises:
            ValueError: A pyramid that is not depthwise.
        """
        if not depthwise.pyramid.depthwise:
            raise ValueError(f"{depthwise.pyramid} is not depthwise; expected one such as Pyramid(depthwise=True)")
        steps: OrderedDict[str, nn.Module] = OrderedDict()
        steps["depthwise"] = depthwise
        steps["pointwise"] = depthwise.conv(depthwise.out_channels, out_channels, 1, bias=bias)
        super().__init__(steps)
