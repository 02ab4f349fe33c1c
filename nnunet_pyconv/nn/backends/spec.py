"""What a backend needs to know of a layer and its input besides their values."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch

from nnunet_pyconv.nn.level import Level


def levels_of(
    weights: Sequence[torch.Tensor], groups: Sequence[int], geometry: Sequence[int] = ()
) -> tuple[Level, ...]:
    """Describe levels by what their operators get.

    Args:
        weights: `(out_channels, in_channels / groups, [KZ,] KY, KX)` of each level.
        groups: One number a level.
        geometry: For each level its first input channel and its dilation along each axis; empty if all levels begin
            with the first channel and none is dilated.
    """
    numbers = weights[0].dim() - 1
    if not geometry:
        geometry = [0, *[1] * (numbers - 1)] * len(weights)
    return tuple(
        Level(
            kernel_size=tuple(weight.shape[2:]),
            groups=g,
            in_channels=weight.shape[1] * g,
            out_channels=weight.shape[0],
            dilation=tuple(geometry[numbers * z + 1 : numbers * (z + 1)]),
            first_in_channel=geometry[numbers * z],
        )
        for z, (weight, g) in enumerate(zip(weights, groups, strict=True))
    )


def geometry_of(levels: Sequence[Level]) -> list[int]:
    """Return the geometry of levels, see `levels_of`."""
    return [n for level in levels for n in (level.first_in_channel, *level.dilation)]


@dataclass(frozen=True)
class Workload:
    """What a backend is asked to compute.

    Attributes:
        x_size: `(N, C, [Z,] Y, X)` of the input.
        dtype: In which the layer computes.
        device: Where.
        levels: The levels.
        stride: One an axis.
    """

    x_size: tuple[int, ...]
    dtype: torch.dtype
    device: torch.device
    levels: tuple[Level, ...]
    stride: tuple[int, ...]

    @property
    def y_size(self) -> tuple[int, ...]:
        """`(N, all out_channels, [Z',] Y', X')` of the output."""
        channels = sum(level.out_channels for level in self.levels)
        return (self.x_size[0], channels, *output_size(self.x_size[2:], self.stride))

    @property
    def has_shares(self) -> bool:
        """Whether a level convolves a share of the channels instead of all."""
        return any(level.in_channels != self.x_size[1] for level in self.levels)


def output_size(size: Sequence[int], stride: Sequence[int]) -> list[int]:
    """Return the spatial size of the output: that of odd "same" convolutions, `ceil(size / stride)`."""
    return [-(-edge // s) for edge, s in zip(size, stride, strict=True)]
