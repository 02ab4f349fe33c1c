"""The layer as TorchScript can read it."""

from __future__ import annotations

import torch
from torch import nn


class ScriptedLevels(nn.Module):
    """The levels one after the other, the reference backend: what `torch.jit.script` makes of a PyConv layer."""

    def __init__(self, levels: nn.ModuleList, dim: int, shares: bool) -> None:
        super().__init__()
        self.levels = levels
        self.channel_axis = -1 - dim
        self.in_channels: list[int] = [level.in_channels for level in levels]  # type: ignore[misc]
        self.shares = shares

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Convolve `(N, C, [Z,] Y, X)`, or without N."""
        inputs = [x] * len(self.levels)
        if self.shares:
            inputs = list(torch.split(x, self.in_channels, dim=self.channel_axis))
        outputs = []
        for place, level in enumerate(self.levels):
            outputs.append(level(inputs[place]))  # TorchScript unrolls loops over modules, but no comprehensions
        return torch.cat(outputs, dim=self.channel_axis)
