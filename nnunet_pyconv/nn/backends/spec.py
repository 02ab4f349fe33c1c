"""What a backend needs to know of a layer besides its weights."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch


@dataclass(frozen=True)
class LevelSpec:
    """One level as a grouped convolution.

    Attributes:
        kernel_size: Edge along each spatial axis, odd.
        groups: Number of groups.
        inputs: Input channels of a group.
        outputs: Output channels of a group.
    """

    kernel_size: tuple[int, ...]
    groups: int
    inputs: int
    outputs: int

    @classmethod
    def of(cls, weight: torch.Tensor, groups: int) -> LevelSpec:
        """Read it from a weight `(out_channels, in_channels / groups, *kernel_size)`."""
        return cls(tuple(weight.shape[2:]), groups, weight.shape[1], weight.shape[0] // groups)


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
    levels: tuple[LevelSpec, ...]
    stride: tuple[int, ...]

    @classmethod
    def of(
        cls, x: torch.Tensor, weights: Sequence[torch.Tensor], groups: Sequence[int], stride: Sequence[int]
    ) -> Workload:
        """Describe an input and the layer that gets it."""
        levels = tuple(LevelSpec.of(weight, g) for weight, g in zip(weights, groups, strict=True))
        return cls(tuple(x.shape), x.dtype, x.device, levels, tuple(stride))


def output_size(size: Sequence[int], stride: Sequence[int]) -> list[int]:
    """Return the spatial size of the output: that of odd "same" convolutions, `ceil(size / stride)`."""
    return [-(-edge // s) for edge, s in zip(size, stride, strict=True)]


def output_shape(x_size: Sequence[int], weights: Sequence[torch.Tensor], stride: Sequence[int]) -> list[int]:
    """Return the shape of the output, `(N, all out_channels, [Z',] Y', X')`."""
    return [x_size[0], sum(w.shape[0] for w in weights), *output_size(x_size[2:], stride)]
