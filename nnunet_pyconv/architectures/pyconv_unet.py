"""nnU-Net's U-Nets with pyramidal convolutions, under class names that plans files can carry."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from dynamic_network_architectures.architectures.unet import PlainConvUNet, ResidualEncoderUNet
from torch import nn

from nnunet_pyconv.architectures.any_size import crop_to, pad_to_multiple
from nnunet_pyconv.nn import Block, Part, Pyramid, convert_to_pyconv, map_size_per_stage


class PyConvUNet(PlainConvUNet):
    """nnU-Net's plain U-Net whose k x k convolutions are pyramidal.

    Input of any size: edges that the strides don't divide are padded inside and the outputs cropped.
    """

    def __init__(
        self,
        input_channels: int,
        n_stages: int = 5,
        features_per_stage: int | Sequence[int] | None = None,
        conv_op: type[nn.Module] = nn.Conv2d,
        kernel_sizes: int | Sequence[int | Sequence[int]] = 3,
        strides: int | Sequence[int | Sequence[int]] | None = None,
        n_conv_per_stage: int | Sequence[int] = 2,
        num_classes: int = 1,
        n_conv_per_stage_decoder: int | Sequence[int] = 2,
        conv_bias: bool = True,
        norm_op: type[nn.Module] | None = nn.InstanceNorm2d,
        norm_op_kwargs: Mapping[str, Any] | None = None,
        dropout_op: type[nn.Module] | None = None,
        dropout_op_kwargs: Mapping[str, Any] | None = None,
        nonlin: type[nn.Module] | None = nn.LeakyReLU,
        nonlin_kwargs: Mapping[str, Any] | None = None,
        deep_supervision: bool = False,
        nonlin_first: bool = False,
        *,
        pyramid: Sequence[Mapping[str, Any] | None] | None = None,
        block: Block = "plain",
        part: Part = "network",
    ) -> None:
        """Build the network; the order of the arguments is that of `PlainConvUNet`, the defaults are nnU-Net's for 2D.

        Args:
            input_channels: Channels of the image.
            n_stages: Stages of the encoder.
            features_per_stage: Channels of each stage; None starts with 32 and doubles up to 512.
            conv_op: `nn.Conv2d` or `nn.Conv3d`.
            kernel_sizes: Kernel of each stage's convolutions; where it is 1, no pyramid grows.
            strides: Stride of each stage; None halves the feature map at all but the first.
            n_conv_per_stage: Convolutions of each stage of the encoder.
            num_classes: Channels of the logits.
            n_conv_per_stage_decoder: Convolutions of each stage of the decoder.
            conv_bias: Whether convolutions have a bias.
            norm_op: Normalisation that suits `conv_op`, or None.
            norm_op_kwargs: Its arguments; None gives it affine parameters.
            dropout_op: Dropout, or None.
            dropout_op_kwargs: Its arguments.
            nonlin: Activation, or None.
            nonlin_kwargs: Its arguments; None lets it work in place.
            deep_supervision: Whether all heads answer, or the one at full resolution alone.
            nonlin_first: Whether the activation comes before the normalisation.
            pyramid: Specification for each stage, full resolution first, as `Pyramid.to_json` gives it and plans carry
                it in `arch_kwargs`; None in its place leaves the convolutions of a stage as they are, None for all
                gives every stage the whole pyramid of the block.
            block: What takes the place of a convolution, see `nn.Block`.
            part: Where it does, see `nn.convert_to_pyconv`.

        Raises:
            ValueError: A pyramid that is not valid, or not one for each stage.
        """
        super().__init__(
            input_channels,
            n_stages,
            features_per_stage or [min(32 * 2**stage, 512) for stage in range(n_stages)],
            conv_op,
            kernel_sizes,
            strides or [1] + [2] * (n_stages - 1),
            n_conv_per_stage,
            num_classes,
            n_conv_per_stage_decoder,
            conv_bias,
            norm_op,
            {"eps": 1e-5, "affine": True} if norm_op_kwargs is None else norm_op_kwargs,
            dropout_op,
            dropout_op_kwargs,
            nonlin,
            {"inplace": True} if nonlin_kwargs is None else nonlin_kwargs,
            deep_supervision,
            nonlin_first,
        )
        convert_to_pyconv(self, _from_plans(pyramid), block=block, part=part)

    def forward(self, x: torch.Tensor) -> torch.Tensor | list[torch.Tensor]:
        """Segment.

        Args:
            x: `(N, input_channels, [Z,] Y, X)`.

        Returns:
            Logits `(N, num_classes, [Z,] Y, X)`; with deep supervision a list of them, full resolution first.
        """
        return _forward_any_size(self, x)


class PyConvResidualEncoderUNet(ResidualEncoderUNet):
    """nnU-Net's residual encoder U-Net whose k x k convolutions are pyramidal.

    Both convolutions of a block and the stem are swapped; the 1 x 1 projections of the skips stay. Input of any
    size, as for `PyConvUNet`.

    Args:
        *args: As for `ResidualEncoderUNet`.
        pyramid: As for `PyConvUNet`.
        block: As for `PyConvUNet`.
        part: As for `PyConvUNet`.
        **kwargs: As for `ResidualEncoderUNet`.

    Raises:
        ValueError: A pyramid that is not valid, or not one for each stage.
    """

    def __init__(
        self,
        *args: Any,
        pyramid: Sequence[Mapping[str, Any] | None] | None = None,
        block: Block = "plain",
        part: Part = "network",
        **kwargs: Any,
    ) -> None:
        super().__init__(*args, **kwargs)
        convert_to_pyconv(self, _from_plans(pyramid), block=block, part=part)

    def forward(self, x: torch.Tensor) -> torch.Tensor | list[torch.Tensor]:
        """Segment; input and output as for `PyConvUNet`."""
        return _forward_any_size(self, x)


PYCONV_CLASSES: dict[str, type[nn.Module]] = {
    "PlainConvUNet": PyConvUNet,
    "ResidualEncoderUNet": PyConvResidualEncoderUNet,
}
"""The class with pyramidal convolutions for each class that nnU-Net's planners put into plans."""


def check_patch_size(patch_size: Sequence[int], arch_kwargs: Mapping[str, Any]) -> None:
    """Check that the pyramids in plans fit the feature maps, by the rule that made them (`Pyramid.fitted`).

    A patch that was edited afterwards may be too small. Plans without pyramids pass: those of nnU-Net get pyramids that
    fit. nnU-Net's own trainer can't ask; it trains such plans, with kernels that lie on padding for the most part.

    Args:
        patch_size: Of the plans, in pixels.
        arch_kwargs: Of the plans; `pyramid`, and strides and kernels of each stage.

    Raises:
        ValueError: A kernel that is larger than the feature map of its stage.
    """
    if not arch_kwargs.get("pyramid"):
        return
    map_sizes = map_size_per_stage(patch_size, arch_kwargs["strides"])
    given = [
        None if pyramid is None else Pyramid.from_json(pyramid).along(kernel_size)
        for pyramid, kernel_size in zip(arch_kwargs["pyramid"], arch_kwargs["kernel_sizes"], strict=False)
    ]
    fitting = [pyramid and pyramid.fitted(map_size) for pyramid, map_size in zip(given, map_sizes, strict=False)]
    for stage, (pyramid, fits) in enumerate(zip(given, fitting, strict=False)):
        if pyramid is not None and pyramid != fits:
            raise ValueError(
                f"patch_size {list(patch_size)} is too small for the pyramid of these plans: the feature map of stage "
                f"{stage} has {' x '.join(map(str, map_sizes[stage]))} pixels, its levels reach "
                f"{_listed(pyramid.reaches)}; expected none to reach further than the map. Give a larger patch_size, "
                "or change it in the plans of nnU-Net that they were made from and run nnunet_pyconv plan anew, or "
                f"set the kernel_sizes of the stages to {[each and _listed(each.kernel_sizes) for each in fitting]}"
            )


def _listed(levels: Sequence[int | tuple[int, ...]]) -> list[int | list[int]]:
    """Write levels as plans do."""
    return [list(each) if isinstance(each, tuple) else each for each in levels]


def _from_plans(pyramid: Sequence[Mapping[str, Any] | None] | None) -> list[Pyramid | None] | None:
    return None if pyramid is None else [None if stage is None else Pyramid.from_json(stage) for stage in pyramid]


def _forward_any_size(network: Any, x: torch.Tensor) -> torch.Tensor | list[torch.Tensor]:
    size = x.shape[2:]
    stage_strides = [(s,) * len(size) if isinstance(s, int) else s for s in network.encoder.strides]
    multiple = [math.prod(strides) for strides in zip(*stage_strides, strict=True)]
    if all(edge <= m for edge, m in zip(size, multiple, strict=True)):
        multiple[-1] *= 2  # instance normalisation is not defined for a bottleneck of one pixel
    logits = network.decoder(network.encoder(pad_to_multiple(x, multiple)))
    if not network.decoder.deep_supervision:
        return crop_to(logits, size)
    cropped = []
    scale = [1.0] * len(size)
    for each, strides in zip(logits, stage_strides, strict=False):  # the bottleneck has a stride and no head
        scale = [factor / s for factor, s in zip(scale, strides, strict=True)]
        # rounded as the targets are (batchgeneratorsv2, deep_supervision_downsampling.py)
        cropped.append(crop_to(each, [round(edge * factor) for edge, factor in zip(size, scale, strict=True)]))
    return cropped
