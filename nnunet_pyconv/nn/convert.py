"""The swap: replace the k x k convolutions of a U-Net that nnU-Net builds by pyramidal convolutions."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, TypeVar

from dynamic_network_architectures.building_blocks.helper import maybe_convert_scalar_to_list
from torch import nn

from nnunet_pyconv.names import PARTS, Block, Part
from nnunet_pyconv.nn.blocks import block_for, check_block, default_pyramid, pyramid_channels
from nnunet_pyconv.nn.bottleneck import PyConvBottleneck
from nnunet_pyconv.nn.pyconv import PyConv
from nnunet_pyconv.nn.pyramid import Pyramid
from nnunet_pyconv.nn.separable import PyConvSeparable

_Network = TypeVar("_Network", bound=nn.Module)


def convert_to_pyconv(
    network: _Network,
    pyramid: Pyramid | Sequence[Pyramid | None] | None = None,
    *,
    patch_size: Sequence[int] | None = None,
    block: Block = "plain",
    part: Part = "network",
) -> _Network:
    """Replace, in place, the k x k convolutions of a network by pyramidal convolutions.

    Swapped are the convolutions of the stem, of the encoder's stages and of the decoder's stages that have a kernel
    larger than 1 along some axis, so in a residual encoder the stem and both convolutions of a block; a pyramid grows
    only along those axes. 1 x 1 convolutions (projections of residual blocks, bottlenecks), transposed convolutions
    and the segmentation heads stay as they are. The new layers are initialised by the network's own `initialize`.

    Args:
        network: `PlainConvUNet`, `ResidualEncoderUNet` or another network with their `encoder.stages` and
            `decoder.stages` (dynamic_network_architectures, architectures/unet.py), in 2D or 3D.
        pyramid: One pyramid for all stages, or one for each stage of the encoder, full resolution first; the
            decoder's stage takes that of the encoder's stage of its resolution. None: that of the block; instead of the
            pyramid of a stage: its convolutions stay as they are.
        patch_size: The patch that the network sees, in pixels. With it, one pyramid for all stages keeps in each stage
            only the levels that fit its feature map and channels, see `pyramid_per_stage`.
        block: What takes the place of a convolution, see `Block`; for the first one see `blocks.block_for`.
        part: Where convolutions are swapped; the other half of the network stays as it is.

    Returns:
        The same network.

    Raises:
        TypeError: A network without such stages, one that has been swapped before, or something else than pyramids.
        ValueError: A number of pyramids that is not the number of stages, another block or part, or a pyramid that is
            not the block's.
    """
    check_block(block)
    if part not in PARTS:
        raise ValueError(f"part={part!r} is unknown; expected one of {', '.join(PARTS)}")
    pyramid = default_pyramid(block) if pyramid is None else pyramid
    stages = _stages(network, part)
    if any(isinstance(module, PyConv) for module in network.modules()):
        raise TypeError(
            f"{type(network).__name__} has pyramidal convolutions already; pass the network before the swap"
        )
    if not isinstance(pyramid, Pyramid):
        pyramids: list[Pyramid | None] = list(pyramid)
        if not all(each is None or isinstance(each, Pyramid) for each in pyramids):
            raise TypeError(f"{pyramid} are not pyramids; for these kernels in all stages give Pyramid({pyramid})")
    elif patch_size is None:
        pyramids = [pyramid] * len(stages)
    else:
        encoder: Any = network.encoder
        kernel_sizes = [maybe_convert_scalar_to_list(encoder.conv_op, k) for k in encoder.kernel_sizes]
        per_stage = (encoder.strides, kernel_sizes, encoder.output_channels)
        pyramids = list(pyramid_per_stage(patch_size, *per_stage, pyramid, block=block))
    if len(pyramids) != len(stages):
        raise ValueError(
            f"{len(pyramids)} pyramids for {len(stages)} stages; give one for each stage of the encoder, or one for all"
        )

    for stage, stage_pyramid in zip(stages, pyramids, strict=True):
        if stage_pyramid is not None:
            for module in stage:
                _swap(module, stage_pyramid, block, network)
    _update_input_keys(network)
    return network


def pyramid_per_stage(
    patch_size: Sequence[int],
    strides: Sequence[Sequence[int]],
    kernel_sizes: Sequence[Sequence[int]],
    features_per_stage: Sequence[int],
    pyramid: Pyramid | None = None,
    *,
    block: Block = "plain",
) -> list[Pyramid]:
    """Decide how many levels each stage of a network gets.

    The rule is that of `Pyramid.fitted`, with the size of the stage's output at the patch size of the plans. At
    512 x 512 and eight stages, the stages down to 16 x 16 have kernels 3, 5, 7, 9, that of 8 x 8 has 3, 5, 7, and that
    of 4 x 4 has 3 alone. At 128 x 128 x 128 and six stages, the first (32 features) has 3, 5, 7, those down to
    16 x 16 x 16 have 3, 5, 7, 9, that of 8 x 8 x 8 has 3, 5, 7, and that of 4 x 4 x 4 has 3. Of the dilations
    1, 2, 3, 4, which reach as far, a stage has as many as its map allows, whatever its channels.

    Args:
        patch_size: The patch that the network sees, in pixels.
        strides: Stride of each stage, one an axis.
        kernel_sizes: Kernel of each stage's convolutions, one edge an axis; where it is 1, the pyramid doesn't grow.
        features_per_stage: Output channels of each stage.
        pyramid: The pyramid where all levels fit; None: that of the block.
        block: As for `convert_to_pyconv`; a bottleneck's pyramid has the channels of its middle.

    Returns:
        A pyramid for each stage, full resolution first.
    """
    pyramid = default_pyramid(block) if pyramid is None else pyramid
    pyramids = []
    map_sizes = map_size_per_stage(patch_size, strides)
    for map_size, kernel_size, features in zip(map_sizes, kernel_sizes, features_per_stage, strict=True):
        pyramids.append(pyramid.along(kernel_size).fitted(map_size, pyramid_channels(block, features)))
    return pyramids


def map_size_per_stage(patch_size: Sequence[int], strides: Sequence[Sequence[int]]) -> list[tuple[int, ...]]:
    """Return the size of each stage's output in pixels, full resolution first; see `pyramid_per_stage`."""
    map_sizes = []
    map_size = tuple(patch_size)
    for stride in strides:
        map_size = tuple(math.ceil(edge / s) for edge, s in zip(map_size, stride, strict=True))
        map_sizes.append(map_size)
    return map_sizes


def _stages(network: nn.Module, part: Part) -> list[list[nn.Module]]:
    """For each stage of the encoder, what works at its resolution in this part of the network."""
    encoder: Any = getattr(network, "encoder", None)
    decoder: Any = getattr(network, "decoder", None)
    if not (hasattr(encoder, "stages") and hasattr(encoder, "strides") and hasattr(decoder, "stages")):
        raise TypeError(
            f"{type(network).__name__} has no encoder and decoder with stages, so its convolutions can't be swapped; "
            "expected a PlainConvUNet or ResidualEncoderUNet of dynamic_network_architectures"
        )
    stages: list[list[nn.Module]] = [[] for _ in encoder.stages]
    if part != "decoder":
        for modules, stage in zip(stages, encoder.stages, strict=True):
            modules.append(stage)
        if getattr(encoder, "stem", None) is not None:
            stages[0].append(encoder.stem)
    if part != "encoder":
        for below, stage in enumerate(decoder.stages):  # lowest resolution first, without the bottleneck
            stages[len(stages) - 2 - below].append(stage)
    return stages


def _swap(whole: nn.Module, pyramid: Pyramid, block: Block, network: nn.Module) -> None:
    swapped: dict[nn.Module, nn.Module] = {}
    initialize = getattr(network, "initialize", None)
    for parent in list(whole.modules()):
        for name, child in list(parent.named_children()):
            if isinstance(child, (nn.Conv2d, nn.Conv3d)) and max(child.kernel_size) > 1:
                # ConvDropoutNormReLU registers its convolution twice, as .conv and in .all_modules: one layer for both
                if child not in swapped:
                    swapped[child] = block_for(child, pyramid, block, network.encoder)
                    if callable(initialize):
                        swapped[child].apply(initialize)
                setattr(parent, name, swapped[child])


def _update_input_keys(network: nn.Module) -> None:
    """Let `keys_to_in_proj` (dynamic_network_architectures, abstract_arch.py) name what takes the image now."""
    keys = []
    for key in getattr(network, "keys_to_in_proj", ()):
        layer = network.get_submodule(key)
        if isinstance(layer, PyConvBottleneck):
            key += ".reduce"
        elif isinstance(layer, PyConvSeparable):
            key += ".depthwise"
            layer = network.get_submodule(key)
        keys += [f"{key}.levels.{z}" for z in range(len(layer.levels))] if isinstance(layer, PyConv) else [key]
    network.keys_to_in_proj = tuple(keys)  # type: ignore[assignment]  # a plain attribute of that class
