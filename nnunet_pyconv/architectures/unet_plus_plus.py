"""UNet++ (Zhou et al. 2018, arXiv:1807.10165) as the paper measures it."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import ClassVar

import torch
from torch import nn

from nnunet_pyconv.architectures.segmentation_network import Decoder, SegmentationNetwork
from nnunet_pyconv.architectures.unet import FEATURES_PER_STAGE, UNetEncoder, double_convolution


class NestedDecoder(Decoder):
    """The nested skip pathways: node (stage, column) sees its stage's earlier nodes and the node below, upsampled.

    The column 0 is the encoder. The nodes of stage 0 in columns 1 to 4 have one head each, all at full resolution.
    """

    def __init__(self, features_per_stage: Sequence[int], num_classes: int) -> None:
        n_columns = len(features_per_stage) - 1
        super().__init__(features_per_stage[0], num_classes, n_heads=n_columns)
        self.up = nn.Upsample(scale_factor=2, mode="bilinear", align_corners=True)
        self.columns = nn.ModuleList(
            nn.ModuleList(
                double_convolution(column * here + below, here)
                for here, below in pairwise(features_per_stage[: n_columns - column + 2])
            )
            for column in range(1, n_columns + 1)
        )

    def forward(self, features: list[torch.Tensor]) -> list[torch.Tensor]:
        """Return the logits of the heads, the last column's first, or its alone without deep supervision."""
        rows = [[feature] for feature in features]
        for column in self.columns:
            below = [row[-1] for row in rows[1:]]  # all of the column before this one
            del rows[-1]
            for row, lower, node in zip(rows, below, column, strict=True):  # type: ignore[call-overload]
                row.append(node(torch.cat([*row, self.up(lower)], dim=1)))
        heads = list(zip(self.seg_layers, rows[0][1:], strict=True))
        return [head(x) for head, x in reversed(heads if self.deep_supervision else heads[-1:])]


class UNetPlusPlus(SegmentationNetwork):
    """The UNet++ of the paper's Table 3: 32 to 512 channels, bilinear upsampling, four deep supervision heads.

    9,163,428 parameters at 3 input channels and 1 class, with its four heads, which it always has.
    """

    n_outputs: ClassVar[int] = 4

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
            deep_supervision: Whether the four heads answer, or the last alone.
            strides: For plans only, see `SegmentationNetwork`.
        """
        super().__init__(
            UNetEncoder(input_channels, FEATURES_PER_STAGE),
            NestedDecoder(FEATURES_PER_STAGE, num_classes),
            deep_supervision,
            strides,
        )
