"""The compiled execution: all levels in one pass over the image, as torch operators.

`nnunet_pyconv::direct` and its two gradients call the C library with data pointers. Fake kernels let `torch.compile`
keep them in its graph. Which layers are executed so is decided in `choice.py`.
"""

from __future__ import annotations

import contextlib
import ctypes
import functools
import math
import os
import threading
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch.utils.flop_counter import register_flop_formula

from nnunet_pyconv.nn.execution import build
from nnunet_pyconv.nn.execution.spec import LevelSpec, output_size

_lock = threading.Lock()


def unavailable_because() -> str | None:
    """Say why the compiled kernel can't run on this machine, or None where it can.

    The first call compiles it if need be, and gives one warning if that fails.
    """
    library = _library()
    return library if isinstance(library, str) else None


def supports(levels: Sequence[LevelSpec]) -> bool:
    """Tell whether the kernel was compiled for so many levels and such kernels."""
    return len(levels) <= 16 and all(max(level.kernel_size) <= 31 for level in levels)


@functools.lru_cache(maxsize=1)
def _load() -> ctypes.CDLL | str:
    try:
        library = build.load()
        library.pyconv_use_openmp(_openmp_parallel())
    except build.BuildError as error:
        warnings.warn(
            f"PyConv runs without its compiled kernel, slower and with the same result: {error}", stacklevel=2
        )
        return str(error)
    return library


def _library() -> ctypes.CDLL | str:
    with _lock:  # lru_cache alone may run twice at once
        return _load()


def _openmp_parallel() -> ctypes.c_void_p:
    """Return the address of GOMP_parallel in the OpenMP runtime that torch runs on.

    GCC's, Intel's and LLVM's runtimes all have it. Only one that is loaded already will do: a second pool of threads
    would compete with torch's for the cores.
    """
    torch_folder = Path(torch.__file__).parent
    shipped = [str(path) for folder in ("lib", "../torch.libs") for path in (torch_folder / folder).glob("lib*omp*")]
    for name in [*shipped, "libgomp.so.1", "libiomp5.so", "libomp.so.5", "libomp.so", "libomp.dylib"]:
        with contextlib.suppress(OSError, AttributeError):
            runtime = ctypes.CDLL(name, mode=os.RTLD_NOW | os.RTLD_NOLOAD)
            return ctypes.cast(runtime.GOMP_parallel, ctypes.c_void_p)
    raise build.BuildError("the OpenMP runtime of this torch was not found, so the kernel would have one thread only")


def _arguments(
    x_size: Sequence[int],
    y_size: Sequence[int],
    stride: Sequence[int],
    weights: Sequence[torch.Tensor],
    groups: Sequence[int],
) -> tuple[Any, Any, Any]:
    """Lay out shape and levels as the C interface wants them; see csrc/pyconv.c."""
    ones = [1] * (5 - len(x_size))
    shape = [x_size[0], x_size[1], y_size[1], *ones, *x_size[2:], *ones, *y_size[2:], *ones, *stride]
    levels = [
        value
        for weight, g in zip(weights, groups, strict=True)
        for value in (*ones, *weight.shape[2:], g, weight.shape[0])
    ]
    return (ctypes.c_int64 * len(shape))(*shape), ctypes.c_int64(len(weights)), (ctypes.c_int64 * len(levels))(*levels)


def _pointers(tensors: Sequence[torch.Tensor | None]) -> Any:
    return (ctypes.c_void_p * len(tensors))(*[None if t is None else t.data_ptr() for t in tensors])


def _call(function: str, *arguments: Any) -> None:
    library = _library()
    if isinstance(library, str):
        raise RuntimeError(f"the compiled execution was called on a machine that does not have it: {library}")
    threads = ctypes.c_int64(torch.get_num_threads())
    pointers = [ctypes.c_void_p(a.data_ptr()) if isinstance(a, torch.Tensor) else a for a in arguments]
    if getattr(library, function)(*pointers, threads):
        raise MemoryError(f"no memory for the scratch of {function}")


# torch 2.4 can't derive the schemas from postponed annotations.
@torch.library.custom_op(
    "nnunet_pyconv::direct",
    mutates_args=(),
    device_types="cpu",
    schema="(Tensor x, Tensor[] weights, Tensor[] biases, int[] groups, int[] stride) -> Tensor",
)
def direct(
    x: torch.Tensor, weights: list[torch.Tensor], biases: list[torch.Tensor], groups: list[int], stride: list[int]
) -> torch.Tensor:
    """Convolve all levels and concatenate.

    Args:
        x: `(N, C, [Z,] Y, X)`, float32, any strides.
        weights: `(out_channels, C / groups, [KZ,] KY, KX)` of each level, float32.
        biases: `(out_channels,)` of each level, or an empty list.
        groups: Of each level.
        stride: One an axis.

    Returns:
        `(N, all out_channels, [Z',] Y', X')`, contiguous.
    """
    x, weights, biases = x.contiguous(), [w.contiguous() for w in weights], [b.contiguous() for b in biases]
    y = x.new_empty(_output_shape(x, weights, stride))
    shape = _arguments(x.shape, y.shape, stride, weights, groups)
    pointers = _pointers(biases or [None] * len(weights))
    _call("pyconv_forward", *shape, x, _pointers(weights), pointers, y)
    return y


@torch.library.custom_op(
    "nnunet_pyconv::direct_input_gradient",
    mutates_args=(),
    device_types="cpu",
    schema="(Tensor gradient, Tensor[] weights, int[] groups, int[] stride, int[] x_size) -> Tensor",
)
def direct_input_gradient(
    gradient: torch.Tensor, weights: list[torch.Tensor], groups: list[int], stride: list[int], x_size: list[int]
) -> torch.Tensor:
    """Compute the gradient of `direct` with respect to x, of size `x_size`, from that of its output."""
    gradient, weights = gradient.contiguous(), [w.contiguous() for w in weights]
    x_gradient = gradient.new_empty(x_size)
    shape = _arguments(x_size, gradient.shape, stride, weights, groups)
    _call("pyconv_input_gradient", *shape, gradient, _pointers(weights), x_gradient)
    return x_gradient


@torch.library.custom_op(
    "nnunet_pyconv::direct_weight_gradient",
    mutates_args=(),
    device_types="cpu",
    schema="(Tensor gradient, Tensor x, Tensor[] weights, int[] groups, int[] stride) -> Tensor[]",
)
def direct_weight_gradient(
    gradient: torch.Tensor, x: torch.Tensor, weights: list[torch.Tensor], groups: list[int], stride: list[int]
) -> list[torch.Tensor]:
    """Compute the gradients of `direct` with respect to the weights from that of its output."""
    gradient, x = gradient.contiguous(), x.contiguous()
    gradients = [torch.empty_like(w, memory_format=torch.contiguous_format) for w in weights]
    shape = _arguments(x.shape, gradient.shape, stride, weights, groups)
    _call("pyconv_weight_gradient", *shape, x, gradient, _pointers(gradients))
    return gradients


def _output_shape(x: torch.Tensor, weights: Sequence[torch.Tensor], stride: Sequence[int]) -> list[int]:
    return [x.shape[0], sum(w.shape[0] for w in weights), *output_size(x.shape[2:], stride)]


@direct.register_fake
def _(x: torch.Tensor, weights: Any, biases: Any, groups: Any, stride: Any) -> torch.Tensor:  # noqa: ARG001
    return x.new_empty(_output_shape(x, weights, stride))


@direct_input_gradient.register_fake
def _(gradient: torch.Tensor, weights: Any, groups: Any, stride: Any, x_size: Any) -> torch.Tensor:  # noqa: ARG001
    return gradient.new_empty(x_size)


@direct_weight_gradient.register_fake
def _(gradient: torch.Tensor, x: Any, weights: Any, groups: Any, stride: Any) -> list[torch.Tensor]:  # noqa: ARG001
    return [gradient.new_empty(w.shape) for w in weights]


def _save(ctx: Any, inputs: Any, output: torch.Tensor) -> None:  # noqa: ARG001
    x, weights, biases, ctx.groups, ctx.stride = inputs
    ctx.x_size, ctx.biases = list(x.shape), len(biases)
    ctx.save_for_backward(x, *weights)


def _backward(ctx: Any, gradient: torch.Tensor) -> tuple[Any, ...]:
    x, *weights = ctx.saved_tensors
    need_x, need_weights, need_biases = (_any(need) for need in ctx.needs_input_grad[:3])
    x_gradient = weight_gradients = bias_gradients = None
    if need_x:
        x_gradient = direct_input_gradient(gradient, weights, ctx.groups, ctx.stride, ctx.x_size)
    if need_weights:
        weight_gradients = direct_weight_gradient(gradient, x, weights, ctx.groups, ctx.stride)
    if need_biases and ctx.biases:
        total = gradient.sum([0, *range(2, gradient.dim())])
        bias_gradients = list(torch.split(total, [w.shape[0] for w in weights]))
    return x_gradient, weight_gradients or [None] * len(weights), bias_gradients or [None] * ctx.biases, None, None


def _any(need: Any) -> bool:
    return any(need) if isinstance(need, (list, tuple)) else bool(need)


def _refuse_second_order(ctx: Any, *gradients: Any) -> Any:
    raise NotImplementedError(
        "the compiled execution of PyConv has no second derivative; "
        'use `with nnunet_pyconv.nn.execution.execution("levels"):` around the forward pass'
    )


def _flops(y_size: Sequence[int], weight_sizes: Sequence[Sequence[int]]) -> int:
    """Count two operations a multiplication, as torch's counter does for a convolution."""
    return 2 * y_size[0] * math.prod(y_size[2:]) * sum(math.prod(size) for size in weight_sizes)


@register_flop_formula(torch.ops.nnunet_pyconv.direct)
def _(x: Any, weights: Any, biases: Any, groups: Any, stride: Any, *, out_shape: Any, **_: Any) -> int:  # noqa: ARG001
    return _flops(out_shape, weights)


@register_flop_formula([torch.ops.nnunet_pyconv.direct_input_gradient, torch.ops.nnunet_pyconv.direct_weight_gradient])
def _(gradient: Any, *others: Any, **_: Any) -> int:
    weights = next(other for other in others if isinstance(other, list))
    return _flops(gradient, weights)


direct.register_autograd(_backward, setup_context=_save)
direct_input_gradient.register_autograd(_refuse_second_order)
direct_weight_gradient.register_autograd(_refuse_second_order)
