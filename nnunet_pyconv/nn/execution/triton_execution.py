"""The execution on an NVIDIA GPU: all levels in one launch of a Triton kernel, as torch operators.

The input is copied once, so that the channels that a kernel reads together lie together; the output is contiguous. float16,
bfloat16 and float32 are multiplied on tensor cores (float32 as TF32, unless `torch.backends.cudnn.allow_tf32` is off) and
summed in float32. No result depends on the order in which programs run: they are the same bits each time.

Triton comes with PyTorch for CUDA on Linux; it is imported at the first use.
"""

from __future__ import annotations

import importlib.util
import math
import os
from collections.abc import Sequence
from typing import Any

import torch

from nnunet_pyconv.nn.execution import tiles
from nnunet_pyconv.nn.execution.operators import output_shape, register
from nnunet_pyconv.nn.execution.spec import LevelSpec
from nnunet_pyconv.nn.execution.tiles import Layout, three

DTYPES = (torch.float16, torch.bfloat16, torch.float32)
_COLLECTED = 128


def unavailable_because() -> str | None:
    """Say why the Triton kernels can't run on this machine, or None where they can."""
    if importlib.util.find_spec("triton") is None:
        return "Triton is not installed; it comes with PyTorch for CUDA on Linux"
    if is_interpreted():
        return None
    if torch.version.cuda is None or not torch.cuda.is_available():
        return "it needs an NVIDIA GPU and PyTorch for CUDA"
    if torch.cuda.get_device_capability() < (7, 0):
        return "Triton needs a GPU of compute capability 7.0 or newer"
    return None


def is_interpreted() -> bool:
    """Tell whether Triton interprets its kernels on tensors of the CPU, as its variable `TRITON_INTERPRET` says."""
    return os.environ.get("TRITON_INTERPRET") == "1"


def supports(x: torch.Tensor, levels: Sequence[LevelSpec], stride: Sequence[int]) -> bool:
    """Tell whether the layer can be cut into tiles, and the values of input and output be counted in 31 bits."""
    channels = max(x.shape[1], sum(level.groups * level.outputs for level in levels))
    return x.numel() // x.shape[1] * channels < 1 << 31 and tiles.supports(levels, stride)


def _forward(
    x: torch.Tensor, weights: list[torch.Tensor], biases: list[torch.Tensor], groups: list[int], stride: list[int]
) -> torch.Tensor:
    y = x.new_empty(output_shape(x, weights, stride))
    _convolve(x, weights, torch.cat(biases).float() if biases else None, groups, stride, y, backward=False)
    return y


def _input_gradient(
    gradient: torch.Tensor, weights: list[torch.Tensor], groups: list[int], stride: list[int], x_size: list[int]
) -> torch.Tensor:
    x_gradient = gradient.new_empty(x_size)
    _convolve(gradient, weights, None, groups, stride, x_gradient, backward=True)
    return x_gradient


def _convolve(
    source: torch.Tensor,
    weights: list[torch.Tensor],
    bias: torch.Tensor | None,
    groups: list[int],
    stride: list[int],
    target: torch.Tensor,
    backward: bool,
) -> None:
    from nnunet_pyconv.nn.execution import triton_kernels as kernels

    layout = _layout(source, weights, groups, stride, backward)
    sizes = _sizes(source, target)
    arranged = source.new_empty(layout.rows, layout.columns)
    blocks = _blocks_of_pixels(layout, target)
    size = 128 if min(blocks) > 128 * 64 else 64
    with torch.cuda.device_of(source):
        kernels.arrange_weights[(layout.rows // tiles.ROWS,)](
            torch.cat([w.reshape(-1) for w in weights]),
            arranged,
            layout.sets,
            layout.parts,
            *three(stride),
            BACKWARD=backward,
            COLUMNS=layout.columns,
            ROWS=tiles.ROWS,
            VECTOR=layout.vector,
        )
        programs = sum(
            -(-pixels // size) * count for pixels, (count, _, _) in zip(blocks, layout.tile_sets, strict=True)
        )
        kernels.convolve[(programs,)](
            _side_by_side(source, layout.vector),
            arranged,
            arranged if bias is None else bias,
            target,
            layout.sets,
            layout.window,
            *sizes,
            HAS_BIAS=bias is not None,
            PLANAR=source.dim() == 4,
            PRECISION=_precision(),
            BLOCKS=size,
            COLUMNS=layout.columns,
            ROWS=_rows_at_once(source),
            VECTOR=layout.vector,
            num_warps=4 if layout.columns < 64 else 8,
            num_stages=3,
        )


def _weight_gradient(
    gradient: torch.Tensor, x: torch.Tensor, weights: list[torch.Tensor], groups: list[int], stride: list[int]
) -> list[torch.Tensor]:
    from nnunet_pyconv.nn.execution import triton_kernels as kernels

    layout = _layout(x, weights, groups, stride, backward=False)
    gradients = [torch.empty_like(w, memory_format=torch.contiguous_format) for w in weights]
    rows, size = 128, _rows_at_once(x)
    programs = sum(count * -(-tile_rows // rows) for count, tile_rows, _ in layout.tile_sets)
    strips = -(-max(_blocks_of_pixels(layout, gradient)) // size)
    # enough programs for the GPU, each with enough to sum
    shares = max(1, min(strips // 8, 4 * _multiprocessors(x.device) // programs))
    sums = x.new_empty((shares, layout.rows, layout.columns), dtype=torch.float32)
    with torch.cuda.device_of(x):
        kernels.weight_gradient[(programs, shares)](
            _side_by_side(x, layout.vector),
            gradient.contiguous(),
            sums,
            layout.sets,
            layout.window,
            *_sizes(x, gradient),
            layout.rows,
            PLANAR=x.dim() == 4,
            PRECISION=_precision(),
            BLOCKS=size,
            COLUMNS=layout.columns,
            ROWS=rows,
            VECTOR=layout.vector,
            num_warps=4 if layout.columns < 64 else 8,
            num_stages=3,
        )
        for level, each in enumerate(gradients):
            kernels.collect_weight_gradient[(-(-each.numel() // _COLLECTED),)](
                sums,
                each,
                layout.sets,
                layout.parts,
                level,
                each.numel(),
                *three(stride),
                layout.rows,
                shares,
                COLUMNS=layout.columns,
                VECTOR=layout.vector,
                SIZE=_COLLECTED,
            )
    return gradients


def _layout(
    source: torch.Tensor, weights: list[torch.Tensor], groups: list[int], stride: list[int], backward: bool
) -> Layout:
    levels = tuple(LevelSpec.of(w, g) for w, g in zip(weights, groups, strict=True))
    return tiles.lay_out(levels, three(stride), backward, 16 // source.element_size(), source.device)


def _side_by_side(source: torch.Tensor, vector: int) -> torch.Tensor:
    """Copy `(N, C, ...)` to `(N, C / vector, ..., vector)`."""
    return source.unflatten(1, (-1, vector)).movedim(2, -1).contiguous()


def _sizes(source: torch.Tensor, target: torch.Tensor) -> list[int]:
    return [*source.shape[:2], *three(source.shape[2:]), target.shape[1], *three(target.shape[2:])]


def _blocks_of_pixels(layout: Layout, target: torch.Tensor) -> list[int]:
    """Count, for each set of tiles, the blocks of pixels that each of its tiles has to compute."""
    size = three(target.shape[2:])
    return [
        target.shape[0] * math.prod(-(-edge // r) for edge, r in zip(size, fold, strict=True))
        for _, _, fold in layout.tile_sets
    ]


def _rows_at_once(source: torch.Tensor) -> int:
    """Length of the sum that a step of a kernel's loop computes: 128 bytes of each operand."""
    return 128 // source.element_size()


def _precision() -> str:
    return "tf32" if torch.backends.cudnn.allow_tf32 else "ieee"


def _multiprocessors(device: torch.device) -> int:
    return torch.cuda.get_device_properties(device).multi_processor_count if device.type == "cuda" else 1


triton_levels = register("triton", _forward, _input_gradient, _weight_gradient, device=None)
"""The execution as a torch operator, for tensors of one of `DTYPES`; see `operators.register`."""
