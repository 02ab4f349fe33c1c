"""Dilated convolutions of volumes whose weight gradient is that of a dense one, in pure PyTorch.

For weight gradients of dilated convolutions in 3D the library has no fast kernel. Every d-th voxel along each axis,
from each of the d first ones on, makes up a phase, and within a phase a convolution with dilation d is dense. So the
weight gradient is that of a dense convolution whose batch is the phases of all images. Outputs and gradients of inputs
are the library's own.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F  # noqa: N812

from nnunet_pyconv.nn.backends.reference import convolve
from nnunet_pyconv.nn.level import Level


class PhasedConvolution(torch.autograd.Function):
    """What `reference.convolve` computes with stride 1, with a weight gradient by phases; can be derived twice."""

    @staticmethod
    def forward(
        x: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None, groups: int, dilation: list[int]
    ) -> torch.Tensor:
        """Convolve; the arguments are those of `reference.convolve`, of one dtype."""
        return convolve(x, weight, bias, [1] * len(dilation), groups, dilation)

    @staticmethod
    def setup_context(ctx: Any, inputs: Any, output: torch.Tensor) -> None:  # noqa: ARG004
        """Keep what the gradients need."""
        x, weight, _, ctx.groups, ctx.dilation = inputs
        ctx.save_for_backward(x, weight)

    @staticmethod
    def backward(ctx: Any, gradient: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        """Return the gradients of x, weight and bias."""
        x, weight = ctx.saved_tensors
        need_x, need_weight, need_bias = ctx.needs_input_grad[:3]
        padding = [k // 2 for k in weight.shape[2:]]
        of_x = of_weight = of_bias = None
        if need_x:
            reach = [d * p for d, p in zip(ctx.dilation, padding, strict=True)]
            of_x = _gradients(gradient, x, weight, reach, ctx.dilation, ctx.groups, (True, False, False))[0]
        if need_weight:
            phases = _phases(gradient, ctx.dilation), _phases(x, ctx.dilation)
            of_weight = _gradients(*phases, weight, padding, [1] * len(padding), ctx.groups, (False, True, False))[1]
        if need_bias:  # not by the library, which would compute the weight's gradient for it
            of_bias = gradient.sum([0, *range(2, gradient.dim())])
        return of_x, of_weight, of_bias, None, None


def is_phased(level: Level, stride: Sequence[int]) -> bool:
    """Tell whether a level gains by it: a dilated one of a volume, with stride 1."""
    return len(stride) == 3 and max(level.dilation) > 1 and max(stride) == 1


def _phases(x: torch.Tensor, dilation: Sequence[int]) -> torch.Tensor:
    """Rearrange `(N, C, [Z,] Y, X)` to `(phases * N, C, ...)`; zeros fill up phases that are a voxel shorter."""
    missing = [-size % d for size, d in zip(x.shape[2:], dilation, strict=True)]
    if any(missing):
        x = F.pad(x, [n for each in reversed(missing) for n in (0, each)])
    axes = len(dilation)
    sizes = [n for size, d in zip(x.shape[2:], dilation, strict=True) for n in (size // d, d)]
    x = x.reshape(*x.shape[:2], *sizes)  # (N, C, Z / d, d, Y / d, d, X / d, d)
    within, of_phase = range(3, 3 + 2 * axes, 2), range(2, 2 + 2 * axes, 2)
    return x.permute(*within, 0, 1, *of_phase).flatten(0, axes).contiguous()


def _gradients(
    gradient: torch.Tensor,
    x: torch.Tensor,
    weight: torch.Tensor,
    padding: Sequence[int],
    dilation: Sequence[int],
    groups: int,
    needed: tuple[bool, bool, bool],
) -> tuple[torch.Tensor | None, torch.Tensor | None, torch.Tensor | None]:
    """Return the library's gradients of x, weight and bias of a convolution with stride 1."""
    ones, zeros = [1] * len(padding), [0] * len(padding)
    of_x, of_weight, of_bias = torch.ops.aten.convolution_backward(
        gradient, x, weight, [weight.shape[0]], ones, list(padding), list(dilation), False, zeros, groups, list(needed)
    )
    return of_x, of_weight, of_bias
