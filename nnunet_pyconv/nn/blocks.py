"""What takes the place of a convolution in the swap.

- "plain": a pyramidal convolution, kernels 3, 5, 7, 9 in groups.
- "bottleneck": 1 x 1, pyramidal convolution on a quarter of the channels, 1 x 1; see `PyConvBottleneck`.
- "dilated": four dense convolutions of kernel 3 with dilations 1, 2, 3, 4, a quarter of the outputs each.
- "separable": kernels 3, 5, 7, 9 on a quarter of the channels each, channel by channel, then 1 x 1; see
  `PyConvSeparable`.
"""

from __future__ import annotations

from typing import Any

from torch import nn

from nnunet_pyconv.names import BLOCKS, Block
from nnunet_pyconv.nn.bottleneck import PyConvBottleneck
from nnunet_pyconv.nn.pyconv import PyConv, PyConv2d, PyConv3d
from nnunet_pyconv.nn.pyramid import DEPTHWISE, DILATED, Pyramid
from nnunet_pyconv.nn.separable import PyConvSeparable

IMAGE_CHANNELS = 4
"""The most channels that are taken for those of an image: grey, red-green-blue, the four sequences of an MR study."""

_PYRAMIDS: dict[Block, Pyramid] = {
    "plain": Pyramid(),
    "bottleneck": Pyramid(),
    "dilated": DILATED,
    "separable": DEPTHWISE,
}


def check_block(block: str) -> None:
    """Check the name of a block.

    Raises:
        ValueError: There is no such block.
    """
    if block not in BLOCKS:
        raise ValueError(f"block={block!r} is unknown; expected one of {', '.join(BLOCKS)}")


def default_pyramid(block: Block) -> Pyramid:
    """Return the pyramid that a block has unless another one is given."""
    return _PYRAMIDS[block]


def pyramid_channels(block: Block, features: int) -> int:
    """Return the output channels of the pyramid of a block with so many output channels."""
    return PyConvBottleneck.middle_channels(features) if block == "bottleneck" else features


def block_for(conv: nn.Conv2d | nn.Conv3d, pyramid: Pyramid, block: Block, encoder: Any) -> nn.Module:
    """Build what takes the place of a convolution.

    The first convolution of a network, which sees the one to four channels of an image, has nothing to gain from a
    bottleneck or from convolving each channel by itself. There "bottleneck" puts the pyramidal convolution alone, and
    "separable" a dense convolution with the smallest kernel, which costs less than the pyramid would.

    Args:
        conv: The convolution; its kernel says along which axes the pyramid grows.
        pyramid: The pyramid.
        block: The block.
        encoder: Of the network; its normalisation and activation stand inside a bottleneck.

    Returns:
        The block, with the convolution's stride, device and dtype.

    Raises:
        ValueError: A depthwise pyramid in another block than "separable", or "separable" with another pyramid.
    """
    if pyramid.depthwise != (block == "separable"):
        raise ValueError(
            f"block={block!r} with {pyramid}: a depthwise pyramid makes the block 'separable', and no other does"
        )
    along = pyramid.along(conv.kernel_size, conv.dilation)
    bias = conv.bias is not None
    middle = PyConvBottleneck.middle_channels(conv.out_channels)
    built: nn.Module
    if block == "separable" and conv.in_channels > IMAGE_CHANNELS:
        built = PyConvSeparable(
            _pyconv(conv, conv.in_channels, conv.in_channels, along, bias=False), conv.out_channels, bias=bias
        )
    elif block == "bottleneck" and conv.in_channels > middle:
        norm, norm_kwargs = encoder.norm_op, encoder.norm_op_kwargs or {}
        nonlin, nonlin_kwargs = encoder.nonlin, encoder.nonlin_kwargs or {}
        built = PyConvBottleneck(
            conv.in_channels,
            _pyconv(conv, middle, middle, along, bias),
            conv.out_channels,
            norm=None if norm is None else lambda channels: norm(channels, **norm_kwargs),
            nonlin=None if nonlin is None else lambda: nonlin(**nonlin_kwargs),
            bias=bias,
        )
    else:
        built = _pyconv(conv, conv.in_channels, conv.out_channels, along.first() if along.depthwise else along, bias)
    built.to(device=conv.weight.device, dtype=conv.weight.dtype)
    built.requires_grad_(conv.weight.requires_grad)
    return built.train(conv.training)


def _pyconv(conv: nn.Conv2d | nn.Conv3d, in_channels: int, out_channels: int, pyramid: Pyramid, bias: bool) -> PyConv:
    layer = PyConv2d if isinstance(conv, nn.Conv2d) else PyConv3d
    return layer(in_channels, out_channels, pyramid, stride=conv.stride, bias=bias)
