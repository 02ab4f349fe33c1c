"""What a backend is asked to compute."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch

from nnunet_pyconv.nn.level import Level


@dataclass(frozen=True)
class Workload:
    """A layer and the input that it gets.

    Attributes:
        x_size: `(N, C, [Z,] Y, X)` of the input.
        dtype: In which the layer computes.
        device: Where.
        levels: The levels, undilated.
        stride: One an axis.
    """

    x_size: tuple[int, ...]
    dtype: torch.dtype
    device: torch.device
    levels: tuple[Level, ...]
    stride: tuple[int, ...]

    @classmethod
    def of(
        cls, x: torch.Tensor, weights: Sequence[torch.Tensor], groups: Sequence[int], stride: Sequence[int]
    ) -> Workload:
        """Describe an input and the layer that gets it."""
        return cls(tuple(x.shape), x.dtype, x.device, levels_of(weights, groups), tuple(stride))


def levels_of(weights: Sequence[torch.Tensor], groups: Sequence[int]) -> tuple[Level, ...]:
    """Read levels from their weights `(out_channels, in_channels / groups, *kernel_size)`."""
    return tuple(
        Level(tuple(w.shape[2:]), g, w.shape[1] * g, w.shape[0], dilation=(1,) * (w.dim() - 2))
        for w, g in zip(weights, groups, strict=True)
    )


def output_size(size: Sequence[int], stride: Sequence[int]) -> list[int]:
    """Return the spatial size of the output: that of odd "same" convolutions, `ceil(size / stride)`."""
    return [-(-edge // s) for edge, s in zip(size, stride, strict=True)]


def output_shape(x_size: Sequence[int], weights: Sequence[torch.Tensor], stride: Sequence[int]) -> list[int]:
    """Return the shape of the output, `(N, all out_channels, [Z',] Y', X')`."""
    return [x_size[0], sum(w.shape[0] for w in weights), *output_size(x_size[2:], stride)]
