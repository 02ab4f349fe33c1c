"""Which backend a layer gets: by a cost rule, or as the user says."""

from __future__ import annotations

import contextlib
import math
import os
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import torch

from nnunet_pyconv.names import BACKENDS
from nnunet_pyconv.nn.backends.fold import gains
from nnunet_pyconv.nn.backends.native import kernel
from nnunet_pyconv.nn.backends.phases import is_phased
from nnunet_pyconv.nn.backends.spec import Workload
from nnunet_pyconv.nn.backends.table import Question, table_of
from nnunet_pyconv.nn.backends.triton import autotune
from nnunet_pyconv.nn.backends.triton import backend as triton_backend
from nnunet_pyconv.nn.level import Level

VARIABLE = "NNUNET_PYCONV_BACKEND"

_setting = os.environ.get(VARIABLE, "auto")


@contextlib.contextmanager
def use_backend(setting: str) -> Iterator[None]:
    """Choose the backend of the PyConv layers inside a `with` block; the results agree to float rounding.

    Outside of any block the environment variable `NNUNET_PYCONV_BACKEND` holds, and "auto" without it. The setting is
    that of the process, for all threads.

    Args:
        setting: "auto" (what is fastest for each layer and shape), "native" (the compiled kernel), "fold" (pure
            PyTorch, no compiler), "triton" (the kernels for NVIDIA GPUs) or "reference" (one convolution of torch a
            level).

    Raises:
        ValueError: Another setting.
    """
    global _setting
    _check(setting)
    before, _setting = _setting, setting
    try:
        yield
    finally:
        _setting = before


def available_backends() -> dict[str, str | None]:
    """List the backends: for each why this machine does not have it, or None where it does.

    The first call may compile the kernel, which takes some seconds.
    """
    return {
        "native": kernel.unavailable_because(),
        "fold": None,
        "triton": triton_backend.unavailable_because(),
        "reference": None,
    }


def choose(work: Workload, x: torch.Tensor) -> str:
    """Choose the backend of a layer of ordinary convolutions.

    On a CPU the compiled kernel is taken, unless `library_is_faster`; without the kernel, and for float64, the fold,
    which is also how the library takes dilated levels of volumes. The kernel computes a half-precision input in
    float32. On an NVIDIA GPU the faster of the Triton kernels and the reference is taken, see `autotune.fastest`; where
    nothing can be measured, inside `torch.compile` or the capture of a CUDA graph, what the table of earlier choices
    says (`nn.ahead` fills it before), and without an entry the reference. The reference is taken where the choice has
    to be the same each time, in deterministic mode, and on other devices.

    Args:
        work: The layer and its input; the dtype is that in which a convolution computes.
        x: The input.

    Returns:
        "native", "fold", "triton" or "reference".

    Raises:
        ValueError: A forced backend that can't run here, or an unknown one in the environment variable.
    """
    _check(_setting)
    if _setting == "fold" and work.has_shares:
        return "reference"  # it is not written for them
    if _setting in ("native", "triton"):
        if refusal := _native_refusal(work) if _setting == "native" else _triton_refusal(work):
            raise ValueError(
                f'backend "{_setting}" was asked for, but {refusal}; use "auto" to fall back where it can\'t run'
            )
        return _setting
    if _setting != "auto":
        return _setting
    if is_by_time(work):
        if _can_measure(x):
            return autotune.fastest(work, trained=torch.is_grad_enabled())
        return _as_in_the_table(work)
    if work.device.type != "cpu" or work.x_size[0] == 0:
        return "reference"
    has_kernel = not _native_refusal(work)
    if has_kernel and not library_is_faster(work, trained=torch.is_grad_enabled()):
        return "native"
    folds = is_phased if has_kernel else gains  # where the library beats the kernel, the strided fold gains nothing
    return "fold" if not work.has_shares and any(folds(z, work.stride) for z in work.levels) else "reference"


def is_auto() -> bool:
    """Tell whether no backend is forced."""
    return _setting == "auto"


def is_by_time(work: Workload) -> bool:
    """Tell whether "auto" chooses by time: on a GPU, where both backends can run and the choice may vary."""
    return _is_gpu(work.device) and not _triton_refusal(work) and not _is_deterministic()


def _is_gpu(device: torch.device) -> bool:
    return device.type == "cuda"


def _can_measure(x: torch.Tensor) -> bool:
    return not (
        torch.compiler.is_compiling()
        or type(x) not in (torch.Tensor, torch.nn.Parameter)  # a subclass may not compute at all
        or torch.cuda.is_current_stream_capturing()
    )


def _as_in_the_table(work: Workload) -> str:
    """Look up a choice, within `torch.compile` as well: sizes may be symbols there, and become guards."""
    levels = tuple(
        (z.kernel_size, z.groups, z.in_channels, z.out_channels, z.dilation, z.first_in_channel) for z in work.levels
    )
    sizes = _sizes_for_triton(str(work.device), work.dtype, levels, work.stride, torch.is_grad_enabled())
    for size in sizes:
        if len(size) == len(work.x_size) and all(a == b for a, b in zip(size, work.x_size, strict=True)):
            return "triton"
    return "reference"


# A constant of the graph, so that a compiled network asks once. What it gets are plain values, which torch.compile of
# all versions takes for constants.
@torch.compiler.assume_constant_result  # type: ignore[untyped-decorator]
def _sizes_for_triton(
    device: str, dtype: torch.dtype, levels: tuple[Any, ...], stride: tuple[int, ...], trained: bool
) -> tuple[tuple[int, ...], ...]:
    """Return the sizes of the inputs for which the table says "triton"."""
    described = tuple(Level(*values) for values in levels)
    choices = table_of(torch.device(device)).choices.items()
    asked = Question.of(Workload((), dtype, torch.device(device), described, stride), trained)
    return tuple(q.x_size for q, choice in choices if choice == "triton" and replace(q, x_size=()) == asked)


def library_is_faster(work: Workload, *, trained: bool) -> bool:
    """The cost rule: tell whether the library's convolutions are faster than the compiled kernel.

    The library's vectors run along the channels and the kernel's along the width, so the library wins where most of
    the work is in groups with many channels, and on narrow maps. The costs of a multiplication are fitted to
    measurement, see `docs/performance.md`. With a stride, the library loses as much as the kernel, but for dilated
    levels in 2D that are trained: there it loses more.

    Args:
        work: The layer and its input.
        trained: Whether gradients will be asked for.
    """
    width, stride = work.x_size[-1], work.stride[-1]
    loses_by_stride = trained and stride > 1 and len(work.stride) == 2
    library = kernel = 0.0
    for level in work.levels:
        products = math.prod(level.kernel_size) * level.inputs * level.outputs * level.groups
        if max(level.dilation) == 1:
            kernel += products * _kernel_cost(width)
            library += products * _library_cost(level)
        elif loses_by_stride:
            kernel += products * _kernel_cost_dilated(width // stride)
            library += products * _library_cost_dilated_with_stride(level)
        else:
            kernel += products * _kernel_cost_dilated(width)
            library += products * _library_cost_dilated(level, trained=trained)
    return library < kernel


def _kernel_cost(width: int) -> float:
    """Time of a multiplication in the compiled kernel, relative to that on a wide map."""
    return 2.6 if width <= 6 else 1.5 if width <= 8 else 1.3 if width <= 12 else 1.0


def _kernel_cost_dilated(width: int) -> float:
    """The same with dilation, which widens the halos of a narrow map; a wide one is cut into pieces of 32 pixels."""
    if width < 32:
        return 4.0 if width <= 6 else 2.7 if width <= 8 else 2.4 if width < 16 else 1.6
    return math.ceil(width / 32) * 32 / width


def _library_cost(level: Level) -> float:
    """Time of a multiplication in the library, relative to the compiled kernel's on a wide map."""
    in_blocks = level.groups == 1 or level.outputs % 8 == 0  # for others the library has no fast kernels
    if level.inputs >= 64 and level.outputs >= 16:
        return 0.7 if in_blocks else 2.0
    if level.inputs >= 32 and level.outputs >= 8:
        return 1.25 if in_blocks else 4.0
    if level.inputs >= 16 and level.outputs >= 4:
        return 2.5
    return 10.0


def _library_cost_dilated(level: Level, *, trained: bool) -> float:
    """The same with dilation, which the library's fastest kernels don't have; in 3D it is trained by phases."""
    costs = (0.95, 1.45, 2.7)
    if len(level.kernel_size) == 3:
        costs = (0.9, 1.15, 2.1) if trained else (0.65, 0.8, 1.85)
    for inputs, cost in zip((128, 64, 32), costs, strict=True):
        if level.inputs >= inputs and level.outputs >= inputs // 4:
            return cost
    return 4.5


def _library_cost_dilated_with_stride(level: Level) -> float:
    """The same for the forward and backward pass in 2D with a stride."""
    return 1.4 if level.inputs >= 256 else 1.65 if level.inputs >= 128 else 3.0 if level.inputs >= 64 else 4.5


def _native_refusal(work: Workload) -> str | None:
    if work.dtype in (torch.bfloat16, torch.float16):
        # not by `replace`, which torch 2.4 can't trace
        work = Workload(work.x_size, torch.float32, work.device, work.levels, work.stride)
    return kernel.limits(work) or _machine_refusal()


def _triton_refusal(work: Workload) -> str | None:
    return triton_backend.limits(work) or _triton_machine_refusal()


@torch.compiler.assume_constant_result  # type: ignore[untyped-decorator]
def _is_deterministic() -> bool:
    return torch.are_deterministic_algorithms_enabled() or torch.backends.cudnn.deterministic


# torch.compile must not trace a build, nor what is the same throughout a process.
@torch.compiler.assume_constant_result  # type: ignore[untyped-decorator]
def _machine_refusal() -> str | None:
    return kernel.unavailable_because()


@torch.compiler.assume_constant_result  # type: ignore[untyped-decorator]
def _triton_machine_refusal() -> str | None:
    return triton_backend.unavailable_because()


def _check(setting: str) -> None:
    if setting not in ("auto", *BACKENDS):
        raise ValueError(
            f"backend {setting!r} (given in the call or in ${VARIABLE}) is unknown; "
            f"expected {', '.join(('auto', *BACKENDS))}"
        )
