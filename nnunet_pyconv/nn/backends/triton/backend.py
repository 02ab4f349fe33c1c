"""The backend on an NVIDIA GPU: all levels in one launch of a Triton kernel, as torch operators.

Where a kernel reads several channels together, the input is copied once, so that they lie together. The output is
contiguous.
float16, bfloat16 and float32 are multiplied on tensor cores (float32 as TF32, unless `torch.backends.cudnn.allow_tf32`
is off) and summed in float32. No result depends on the order in which programs run: they are the same bits each time.

Triton comes with PyTorch for CUDA on Linux; it is imported at the first use.
"""

from __future__ import annotations

import functools
import importlib.util
import itertools
import math
import os

import torch

from nnunet_pyconv.nn.backends.operators import Kernels, register
from nnunet_pyconv.nn.backends.spec import Workload
from nnunet_pyconv.nn.backends.triton import cuts
from nnunet_pyconv.nn.backends.triton.cuts import three
from nnunet_pyconv.nn.backends.triton.tiles import Layout, lay_out

DTYPES = (torch.float16, torch.bfloat16, torch.float32)
# These and the sizes of the products below were the fastest of those tried on an H200, over 2D and 3D layers of 32 to
# 512 channels. No kernel spills registers.
WARPS = 4
WARPS_OF_WEIGHT_GRADIENT = 8
STAGES = 3
_COLLECTED = 128
"""Weights that a program of `collect_weight_gradient` sums."""
_MOST_WEIGHTS = 1 << 27
"""Arranged for tiles, weights take up to 16 times their number, of which 31 bits have to count all."""


@functools.lru_cache(maxsize=1)  # asked at each call of a layer
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


def limits(work: Workload) -> str | None:
    """Say why the kernels can't compute something, or return None: tiles must exist, and 31 bits count all values."""
    if work.device.type not in ("cuda", "meta") and not is_interpreted():
        return f"the Triton kernels run on an NVIDIA GPU, not on {work.device.type}"
    if work.dtype not in DTYPES:
        return f"the Triton kernels compute in half or single precision, not in {work.dtype}"
    out_channels = sum(level.groups * level.outputs for level in work.levels)
    width = work.x_size[-1] + cuts.LONGEST_VECTOR - 1  # as padded
    values = work.x_size[0] * math.prod(work.x_size[2:-1]) * width * max(work.x_size[1], out_channels)
    weights = sum(math.prod(level.kernel_size) * level.groups * level.outputs * level.inputs for level in work.levels)
    if values >= 1 << 31 or weights >= _MOST_WEIGHTS or not cuts.supports(work.levels, work.stride):
        return (
            "the Triton kernels take dilated kernels up to 61 pixels, less than 8192 channels, 2^27 weights and 2^31 "
            "values"
        )
    return None


def _forward(x: torch.Tensor, weights: list[torch.Tensor], biases: list[torch.Tensor], work: Workload) -> torch.Tensor:
    y = x.new_empty(work.y_size)
    _convolve(x, weights, torch.cat(biases).float() if biases else None, work, y, backward=False)
    return y


def _input_gradient(gradient: torch.Tensor, weights: list[torch.Tensor], work: Workload) -> torch.Tensor:
    x_gradient = gradient.new_empty(work.x_size)
    _convolve(gradient, weights, None, work, x_gradient, backward=True)
    return x_gradient


def _convolve(
    source: torch.Tensor,
    weights: list[torch.Tensor],
    bias: torch.Tensor | None,
    work: Workload,
    target: torch.Tensor,
    backward: bool,
) -> None:
    from nnunet_pyconv.nn.backends.triton import kernels

    layout = _layout(work, backward)
    vectors = _in_vectors(source, layout)
    arranged = source.new_empty(layout.rows, layout.columns)
    blocks = min(64, 2048 // layout.columns)
    box, counts = _boxes(layout, target, blocks)
    with torch.cuda.device_of(source):  # type: ignore[no-untyped-call]
        kernels.arrange_weights[(layout.rows // cuts.ROWS,)](
            torch.cat([w.reshape(-1) for w in weights]),
            arranged,
            layout.sets,
            layout.parts,
            *three(work.stride),
            BACKWARD=backward,
            COLUMNS=layout.columns,
            ROWS=cuts.ROWS,
            VECTOR=layout.vector,
        )
        programs = sum(count * set_tiles for count, (set_tiles, _, _) in zip(counts, layout.tile_sets, strict=True))
        kernels.convolve[(programs,)](
            vectors,
            arranged,
            arranged if bias is None else bias,
            target,
            layout.sets,
            layout.window,
            *_sizes(vectors, target),
            *box,
            HAS_BIAS=bias is not None,
            PLANAR=source.dim() == 4,
            PRECISION=_precision(),
            BLOCKS=blocks,
            COLUMNS=layout.columns,
            ROWS=128 // source.element_size(),
            VECTOR=layout.vector,
            num_warps=WARPS,
            num_stages=STAGES,
        )


def _weight_gradient(
    gradient: torch.Tensor, x: torch.Tensor, weights: list[torch.Tensor], work: Workload
) -> list[torch.Tensor]:
    from nnunet_pyconv.nn.backends.triton import kernels

    layout = _layout(work, backward=False)
    vectors = _in_vectors(x, layout)
    gradients = [torch.empty_like(w, memory_format=torch.contiguous_format) for w in weights]
    rows, blocks = 128, 128 // x.element_size()
    box, counts = _boxes(layout, gradient, blocks)
    programs = sum(count * -(-tile_rows // rows) for count, tile_rows, _ in layout.tile_sets)
    # enough programs for the GPU, each with enough to sum
    shares = max(1, min(max(counts) // 8, 8 * _multiprocessors(x.device) // programs))
    sums = x.new_empty((shares, layout.rows, layout.columns), dtype=torch.float32)
    with torch.cuda.device_of(x):  # type: ignore[no-untyped-call]
        kernels.weight_gradient[(programs, shares)](
            vectors,
            gradient.contiguous(),
            sums,
            layout.sets,
            layout.window,
            *_sizes(vectors, gradient),
            *box,
            layout.rows,
            PLANAR=x.dim() == 4,
            PRECISION=_precision(),
            BLOCKS=blocks,
            COLUMNS=layout.columns,
            ROWS=rows,
            VECTOR=layout.vector,
            num_warps=WARPS_OF_WEIGHT_GRADIENT,
            num_stages=STAGES,
        )
        for level, each in enumerate(gradients):
            kernels.collect_weight_gradient[(-(-each.numel() // _COLLECTED),)](
                sums,
                each,
                layout.sets,
                layout.parts,
                level,
                each.numel(),
                *three(work.stride),
                layout.rows,
                shares,
                COLUMNS=layout.columns,
                VECTOR=layout.vector,
                SIZE=_COLLECTED,
            )
    return gradients


def _layout(work: Workload, backward: bool) -> Layout:
    return lay_out(work.levels, three(work.stride), backward, 16 // work.dtype.itemsize, work.device)


def _in_vectors(source: torch.Tensor, layout: Layout) -> torch.Tensor:
    """Return `(N, C, [Z,] Y, X)` as `layout` has it in memory, with as few copies as possible."""
    if layout.pixels == 1:
        return torch.unflatten(source, 1, (-1, layout.vector)).movedim(2, -1).contiguous()
    missing = -source.shape[-1] % layout.vector
    padded = torch.nn.functional.pad(source, (0, missing)) if missing else source
    return torch.unflatten(padded.contiguous(), -1, (-1, layout.vector))


def _sizes(vectors: torch.Tensor, target: torch.Tensor) -> list[int]:
    return [*vectors.shape[:2], *three(vectors.shape[2:-1]), target.shape[1], *three(target.shape[2:])]


def _boxes(layout: Layout, target: torch.Tensor, blocks: int) -> tuple[tuple[int, ...], list[int]]:
    """Choose a box of blocks of pixels for a program, and count the boxes that each set of tiles needs.

    Returns:
        Binary logarithms of the box's edges (images, z, y, x), and the counts.
    """
    return _boxes_for(
        tuple(fold for _, _, fold in layout.tile_sets), (target.shape[0], *three(target.shape[2:])), blocks
    )


@functools.lru_cache(maxsize=1024)
def _boxes_for(
    folds: tuple[tuple[int, ...], ...], size: tuple[int, ...], blocks: int
) -> tuple[tuple[int, ...], list[int]]:
    def count(box: tuple[int, ...]) -> list[int]:
        return [math.prod(-(-s // (r << b)) for s, r, b in zip(size, (1, *fold), box, strict=True)) for fold in folds]

    power = blocks.bit_length() - 1
    # no room along an axis of one pixel, where kernels don't look for the end of the image
    edges = itertools.product(range(power + 1), *(range(power + 1) if s > 1 else (0,) for s in size[1:]))
    # the fewest boxes, and among those the most compact, wide rather than high
    box = min((e for e in edges if sum(e) == power), key=lambda e: (sum(count(e)), e[0], max(e), -e[3]))
    return box, count(box)


def _precision() -> str:
    return "tf32" if torch.backends.cudnn.allow_tf32 else "ieee"


def _multiprocessors(device: torch.device) -> int:
    return torch.cuda.get_device_properties(device).multi_processor_count if device.type == "cuda" else 1


triton_levels = register(Kernels("triton", _forward, _input_gradient, _weight_gradient, limits, device=None))
"""The backend as a torch operator, for tensors of one of `DTYPES`; see `operators.register`."""
