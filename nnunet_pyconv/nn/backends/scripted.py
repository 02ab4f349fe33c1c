"""The layer as TorchScript can read it."""

from __future__ import annotations

import torch
from torch import nn


class ScriptedLevels(nn.Module):
    """The levels one after the other, the reference backend: what `torch.jit.script` makes of a PyConv layer."""

    def __init__(self, levels: nn.ModuleList, dim: int, shares: bool) -> None:
        """Keep what the forward pass needs.

        Args:
            levels: The convolutions of the layer.
            dim: Number of spatial axes, 2 or 3.
            shares: Whether each level convolves a share of the channels, instead of all.
        """
        super().__init__()
        self.levels = levels
        self.channel_axis = -1 - dim
        self.shares = shares
        self.sizes: list[int] = [level.in_channels for level in levels]  # type: ignore[misc]  # of convolutions

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Convolve `(N, C, [Z,] Y, X)`, or without N."""
        inputs = torch.split(x, self.sizes, dim=self.channel_axis) if self.shares else [x] * len(self.sizes)
        outputs = []
        for z, level in enumerate(self.levels):  # TorchScript unrolls loops over modules, but no comprehensions
            outputs.append(level(inputs[z]))
        return torch.cat(outputs, dim=self.channel_axis)
