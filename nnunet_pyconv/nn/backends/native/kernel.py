"""The compiled backend: all levels in one pass over the image, as torch operators.

`nnunet_pyconv::native` and its two gradients call the C library with data pointers. Which layers take this
backend is decided in `choice.py`.
"""

from __future__ import annotations

import contextlib
import ctypes
import functools
import os
import threading
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from nnunet_pyconv.nn.backends.native import build
from nnunet_pyconv.nn.backends.native.compiler import BuildError
from nnunet_pyconv.nn.backends.operators import Kernels, register
from nnunet_pyconv.nn.backends.spec import Workload

MOST_LEVELS, LARGEST_KERNEL = 16, 31
"""`MAX_LEVELS` and `MAX_KERNEL` of the C sources."""
LARGEST_REACH = 63
LARGEST_STRIDE = 16
"""Beyond these, the scratch memory of a task, whose size grows with them, would be out of proportion."""

_lock = threading.Lock()


def unavailable_because() -> str | None:
    """Say why the compiled kernel can't run on this machine, or None where it can.

    The first call compiles it if need be, and gives one warning if that fails.
    """
    library = _library()
    return library if isinstance(library, str) else None


def limits(work: Workload) -> str | None:
    """Say why the kernel can't compute something, or return None; its sizes are compiled in, its integers 64 bits."""
    if work.device.type not in ("cpu", "meta"):
        return f"the compiled kernel runs on a CPU, not on {work.device.type}"
    if work.dtype != torch.float32:
        return f"the compiled kernel computes in float32, not in {work.dtype}"
    if len(work.levels) > MOST_LEVELS or any(max(level.kernel_size) > LARGEST_KERNEL for level in work.levels):
        return f"the compiled kernel has at most {MOST_LEVELS} levels and kernels up to {LARGEST_KERNEL}"
    if any(max(level.reach) > LARGEST_REACH for level in work.levels):
        return f"the compiled kernel has dilated kernels up to {LARGEST_REACH} pixels"
    if max(work.stride) > LARGEST_STRIDE:
        return f"the compiled kernel has strides up to {LARGEST_STRIDE}, not {work.stride}"
    return None


@functools.lru_cache(maxsize=1)
def _load() -> ctypes.CDLL | str:
    try:
        library = build.load()
        library.pyconv_use_openmp(_openmp_parallel())
    except Exception as error:  # whatever a machine does to folders, compilers and libraries: there is another way
        reason = str(error) if isinstance(error, BuildError) else f"{type(error).__name__}: {error}"
        warnings.warn(
            f"PyConv runs without its compiled kernel, slower and with the same result: {reason}", stacklevel=2
        )
        return reason
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
    raise BuildError("the OpenMP runtime of this torch was not found, so the kernel would have one thread only")


def _arguments(work: Workload) -> tuple[Any, Any, Any]:
    """Lay out shape and levels as the C interface wants them; see csrc/pyconv.c."""
    x_size, y_size = work.x_size, work.y_size
    ones = [1] * (5 - len(x_size))
    shape = [x_size[0], x_size[1], y_size[1], *ones, *x_size[2:], *ones, *y_size[2:], *ones, *work.stride]
    levels: list[int] = []
    for level in work.levels:
        levels += (*ones, *level.kernel_size, *ones, *level.dilation)
        levels += (level.groups, level.first_in_channel, level.in_channels, level.out_channels)
    count = ctypes.c_int64(len(work.levels))
    return (ctypes.c_int64 * len(shape))(*shape), count, (ctypes.c_int64 * len(levels))(*levels)


def _pointers(tensors: Sequence[torch.Tensor | None]) -> Any:
    return (ctypes.c_void_p * len(tensors))(*[None if t is None else t.data_ptr() for t in tensors])


def _call(function: str, *arguments: Any) -> None:
    library = _library()
    if isinstance(library, str):
        raise RuntimeError(f"the compiled backend was called on a machine that does not have it: {library}")
    threads = ctypes.c_int64(torch.get_num_threads())
    pointers = [ctypes.c_void_p(a.data_ptr()) if isinstance(a, torch.Tensor) else a for a in arguments]
    if getattr(library, function)(*pointers, threads):
        raise MemoryError(f"no memory for the scratch of {function}")


def _forward(x: torch.Tensor, weights: list[torch.Tensor], biases: list[torch.Tensor], work: Workload) -> torch.Tensor:
    x, weights, biases = x.contiguous(), [w.contiguous() for w in weights], [b.contiguous() for b in biases]
    y = x.new_empty(work.y_size)
    pointers = _pointers(biases or [None] * len(weights))
    _call("pyconv_forward", *_arguments(work), x, _pointers(weights), pointers, y)
    return y


def _input_gradient(gradient: torch.Tensor, weights: list[torch.Tensor], work: Workload) -> torch.Tensor:
    gradient, weights = gradient.contiguous(), [w.contiguous() for w in weights]
    x_gradient = gradient.new_empty(work.x_size)
    _call("pyconv_input_gradient", *_arguments(work), gradient, _pointers(weights), x_gradient)
    return x_gradient


def _weight_gradient(
    gradient: torch.Tensor, x: torch.Tensor, weights: list[torch.Tensor], work: Workload
) -> list[torch.Tensor]:
    gradient, x = gradient.contiguous(), x.contiguous()
    gradients = [torch.empty_like(w, memory_format=torch.contiguous_format) for w in weights]
    _call("pyconv_weight_gradient", *_arguments(work), x, gradient, _pointers(gradients))
    return gradients


native_levels = register(Kernels("native", _forward, _input_gradient, _weight_gradient, limits, device="cpu"))
"""The backend as a torch operator, for float32; see `operators.register`."""
