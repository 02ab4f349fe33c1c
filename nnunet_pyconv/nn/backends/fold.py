"""The strided fold: an exact convolution in pure PyTorch that gives the library more channels a group, or dense work.

A library serves groups of one or two output channels badly. So a level is convolved with `r` times its stride, once for
each of the r x r positions inside a block of output pixels, all in one convolution: position `d` has the same kernel,
shifted by `d`, inside a kernel that is larger by `r - 1`. The r x r results of a block then move from the channels to
the pixels. That multiplies more often, `((k + r - 1) / k)^2` times as often, and is faster all the same.

Dilated levels of volumes are folded in another way, for their weight gradient alone: see `phases`.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F  # noqa: N812

from nnunet_pyconv.nn.backends import contract
from nnunet_pyconv.nn.backends.phases import PhasedConvolution, is_phased
from nnunet_pyconv.nn.backends.reference import convolve
from nnunet_pyconv.nn.level import Level


def gains(level: Level, stride: Sequence[int]) -> bool:
    """Tell whether a level is folded in one of the two ways."""
    return is_phased(level, stride) or fold_for(level, stride) != (1, 1)


def fold_for(level: Level, stride: Sequence[int]) -> tuple[int, int]:
    """Choose the block `(rows, columns)` of output pixels to fold for a level; `(1, 1)` where nothing is gained.

    The rule is fitted to measurement, see `docs/performance.md`: the fewer outputs a group has, the larger the block,
    as long as the kernel is so large that it grows by little. A stride beyond the kernel lets it grow by far too much.
    """
    if max(level.dilation) > 1 or max(stride[-2:]) > max(level.kernel_size[-2:]):
        return (1, 1)
    if (level.inputs >= 32 and level.outputs >= 8) or max(level.kernel_size[-2:]) == 1:
        return (1, 1)
    if min(level.kernel_size[-2:]) < 3:
        return (1, 4) if level.kernel_size[-1] > 1 else (4, 1)
    if level.outputs == 1 and min(level.kernel_size[-2:]) >= 7:
        return (2, 4)
    return (2, 2)


def folded(
    x: torch.Tensor,
    weight: torch.Tensor,
    bias: torch.Tensor | None,
    stride: Sequence[int],
    groups: int,
    dilation: Sequence[int] | None = None,
    block: tuple[int, int] | None = None,
) -> torch.Tensor:
    """Convolve one level with its outputs folded along the last two axes, or a dilated one of volumes by phases.

    Args:
        x: `(N, C, [Z,] Y, X)`.
        weight: `(out_channels, C / groups, [KZ,] KY, KX)`, odd kernel.
        bias: `(out_channels,)` or None.
        stride: One an axis.
        groups: Number of groups.
        dilation: One an axis; None for none.
        block: Output pixels to fold, rows and columns, where no axis is dilated; None: as `fold_for` chooses.

    Returns:
        `(N, out_channels, [Z',] Y', X')`, what `reference.convolve` returns.

    Raises:
        RuntimeError: Arguments that a convolution of torch refuses, see `contract`.
        ValueError: A block for a dilated level.
    """
    biases = [] if bias is None else [bias]
    geometry = [] if dilation is None else [0, *dilation]
    described = contract.describe(x, [weight], biases, [groups], stride, geometry, dtype_of=contract.autocast_dtype)
    work = contract.checked(described)
    level = work.levels[0]
    if block is not None and max(level.dilation) > 1:
        raise ValueError(
            f"block {block} for a level with dilation {level.dilation}: give None, which folds it by phases"
        )
    weight = weight.to(work.dtype)  # autocast stacks no other half precision than its own
    if is_phased(level, stride):
        bias = None if bias is None else bias.to(work.dtype)
        y: torch.Tensor = PhasedConvolution.apply(x.to(work.dtype), weight, bias, groups, list(level.dilation))
        return y
    rows, columns = block or fold_for(level, stride)
    if rows == columns == 1:
        return convolve(x, weight, bias, stride, groups, dilation)
    (out_y, out_x), (stride_y, stride_x) = work.y_size[-2:], stride[-2:]

    shifted = [
        F.pad(weight, (dx * stride_x, (columns - 1 - dx) * stride_x, dy * stride_y, (rows - 1 - dy) * stride_y))
        for dy in range(rows)
        for dx in range(columns)
    ]
    large = torch.stack(shifted, dim=1).flatten(0, 1)  # (out_channels * rows * columns, C / groups, ...)
    # The convolution's own padding, that of the small kernel, is enough before the first pixel; after the last one, the
    # larger kernel and an incomplete block may reach further.
    padding = [k // 2 for k in weight.shape[2:]]
    beyond = [
        (-(-out // r) - 1) * r * s + k - p - size
        for out, r, s, k, p, size in zip(
            (out_y, out_x), (rows, columns), stride[-2:], large.shape[-2:], padding[-2:], x.shape[-2:], strict=True
        )
    ]
    missing_y, missing_x = (max(b - p, 0) for b, p in zip(beyond, padding[-2:], strict=True))
    if missing_y or missing_x:
        x = F.pad(x, (0, missing_x, 0, missing_y))
    function = F.conv2d if x.dim() == 4 else F.conv3d
    y = function(
        x,
        large,
        None if bias is None else bias.repeat_interleave(rows * columns),
        [*stride[:-2], rows * stride_y, columns * stride_x],
        padding,
        1,
        groups,
    )
    return _unfold(y, rows, columns, out_y, out_x)


def _unfold(y: torch.Tensor, rows: int, columns: int, out_y: int, out_x: int) -> torch.Tensor:
    """Move the folded positions from the channels to the pixels, and cut off what lies beyond the output."""
    y = torch.unflatten(y, 1, (-1, rows, columns))  # (N, C, rows, columns, [Z,] Y, X)
    y = y.movedim(2, -2).movedim(2, -1)  # (N, C, [Z,] Y, rows, X, columns)
    y = y.flatten(-4, -3).flatten(-2, -1)
    return y[..., :out_y, :out_x]
