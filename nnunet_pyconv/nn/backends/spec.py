"""What an backend needs to know of a layer besides its weights."""

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


def output_size(size: Sequence[int], stride: Sequence[int]) -> list[int]:
    """Return the spatial size of the output: that of odd "same" convolutions, `ceil(size / stride)`."""
    return [-(-edge // s) for edge, s in zip(size, stride, strict=True)]
