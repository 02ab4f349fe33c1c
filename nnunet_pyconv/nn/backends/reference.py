"""The reference: one library convolution a level."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F  # noqa: N812  # torch's own habit


def convolve(
    x: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None, stride: Sequence[int], groups: int
) -> torch.Tensor:
    """Convolve one level with "same" padding for its odd kernel.

    Args:
        x: `(N, C, [Z,] Y, X)`.
        weight: `(out_channels, C / groups, [KZ,] KY, KX)`.
        bias: `(out_channels,)` or None.
        stride: One an axis.
        groups: Number of groups.

    Returns:
        `(N, out_channels, [Z',] Y', X')`.
    """
    function = F.conv2d if weight.dim() == 4 else F.conv3d
    padding = [k // 2 for k in weight.shape[2:]]
    return function(x, weight, bias, list(stride), padding, 1, groups)
