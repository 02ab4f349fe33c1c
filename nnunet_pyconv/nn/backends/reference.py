"""The reference: one library convolution a level."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F  # noqa: N812  # torch's own habit

from nnunet_pyconv.nn.level import Level


def convolve(
    x: torch.Tensor,
    weight: torch.Tensor,
    bias: torch.Tensor | None,
    stride: Sequence[int],
    groups: int,
    dilation: Sequence[int] | None = None,
) -> torch.Tensor:
    """Convolve one level with "same" padding for its odd kernel.

    Args:
        x: `(N, C, [Z,] Y, X)`.
        weight: `(out_channels, C / groups, [KZ,] KY, KX)`.
        bias: `(out_channels,)` or None.
        stride: One an axis.
        groups: Number of groups.
        dilation: One an axis; None for none.

    Returns:
        `(N, out_channels, [Z',] Y', X')`.
    """
    function = F.conv2d if weight.dim() == 4 else F.conv3d
    dilation = dilation or [1] * len(stride)
    padding = [d * (k // 2) for d, k in zip(dilation, weight.shape[2:], strict=True)]
    return function(x, weight, bias, list(stride), padding, list(dilation), groups)


def convolve_levels(
    x: torch.Tensor, weights: Sequence[torch.Tensor], levels: Sequence[Level], stride: Sequence[int]
) -> torch.Tensor:
    """Convolve each level's channels of an input, and put the outputs side by side."""
    parts = [
        convolve(x.narrow(1, z.first_in_channel, z.in_channels), w, None, stride, z.groups, z.dilation)
        for z, w in zip(levels, weights, strict=True)
    ]
    return torch.cat(parts, dim=1)
