"""Which backend is fastest on this GPU: measured once for each layer, shape and dtype, and kept in the table."""

from __future__ import annotations

import contextlib
import functools
import math
import statistics
import warnings
from collections.abc import Callable, Iterator, Sequence

import torch

from nnunet_pyconv.nn.backends.reference import convolve_levels
from nnunet_pyconv.nn.backends.spec import Workload, geometry_of
from nnunet_pyconv.nn.backends.table import Choice, Question, table_of
from nnunet_pyconv.nn.backends.triton.backend import triton_levels
from nnunet_pyconv.nn.level import Level

_MOST_GAIN_OF_SEARCH = 3.0
"""By how much cuDNN's search may make the reference faster."""


def fastest(work: Workload, trained: bool) -> Choice:
    """Tell which of "triton" and "reference" is faster: as the table says, or by trying both now.

    "triton" is taken only where the results of both agree, gradients included. Trying takes milliseconds, the memory
    of two forward and backward passes of the layer, and, the first time on a machine, some seconds in which Triton
    compiles. It doesn't touch the random numbers. Where "triton" fails, for example without a C compiler, which Triton
    needs, or computes something else, a warning tells so once and "reference" is taken until the process ends.

    Args:
        work: The layer and its input.
        trained: Whether there will be a backward pass.
    """
    table, question = table_of(work.device), Question.of(work, trained)
    known = table.choices.get(question)
    if known is not None:
        return known
    try:
        choice = _measure(work, trained)
    except Exception as error:  # whatever compilers and drivers raise
        _warn_once(f"{type(error).__name__}: {error}".strip().splitlines()[0])
        table.add({question: "reference"}, keep=False)  # there may be a C compiler next time, or more memory
        return "reference"
    table.add({question: choice})
    return choice


def _measure(work: Workload, trained: bool) -> Choice:
    """Try both.

    cuDNN's search for its fastest algorithm takes seconds for groups of few channels. It is left out where "reference"
    is too slow for it to matter.

    Raises:
        ArithmeticError: They compute different things.
        Exception: Whatever compilers and drivers raise.
    """
    dtype, device, stride = work.dtype, work.device, list(work.stride)
    groups, geometry = [level.groups for level in work.levels], geometry_of(work.levels)
    with (
        torch.cuda.device_of(torch.empty(0, device=device)),  # type: ignore[no-untyped-call]
        torch.autocast(device.type, enabled=False),
        torch.inference_mode(False),
        torch.enable_grad(),
        _cudnn_benchmark(False),
    ):
        x = _values(work.x_size, 1.0, dtype, device).requires_grad_(trained)
        weights = [_weight(level, dtype, device).requires_grad_(trained) for level in work.levels]
        scale = math.prod((work.x_size[0], *work.x_size[2:])) ** -0.5

        def run(y: torch.Tensor) -> list[torch.Tensor]:
            # so small that sums over all pixels stay within half precision
            return [y, *(torch.autograd.grad(y, [x, *weights], y.detach() * scale) if trained else ())]

        def by_triton() -> list[torch.Tensor]:
            return run(triton_levels(x, weights, [], groups, stride, geometry))

        def by_reference() -> list[torch.Tensor]:
            return run(convolve_levels(x, weights, work.levels, stride))

        if not all(_agree(a, b) for a, b in zip(by_triton(), by_reference(), strict=True)):
            raise ArithmeticError(f"what they compute for an input {work.x_size} in {dtype} differs")
        time_ms = milliseconds(by_triton)
        if milliseconds(by_reference, warm_up=0, times=1) > _MOST_GAIN_OF_SEARCH * time_ms:
            return "triton"
        with _cudnn_benchmark(True):
            return "triton" if time_ms < milliseconds(by_reference) else "reference"


@contextlib.contextmanager
def _cudnn_benchmark(searches: bool) -> Iterator[None]:
    """Say whether cuDNN searches for its fastest algorithms, as it does where nnU-Net trains."""
    before = torch.backends.cudnn.benchmark
    torch.backends.cudnn.benchmark = searches
    try:
        yield
    finally:
        torch.backends.cudnn.benchmark = before


def _weight(level: Level, dtype: torch.dtype, device: torch.device) -> torch.Tensor:
    """Weights of a level with which outputs are as large as inputs."""
    fan_in = level.inputs * math.prod(level.kernel_size)
    return _values((level.out_channels, level.inputs, *level.kernel_size), fan_in**-0.5, dtype, device)


def _values(shape: Sequence[int], scale: float, dtype: torch.dtype, device: torch.device) -> torch.Tensor:
    """Fill a tensor with numbers between -scale and scale that look random."""
    digits = (torch.arange(math.prod(shape), device=device, dtype=torch.float64) * 12.9898).sin() * 43758.5453
    return (digits.frac() * scale).to(dtype).view(shape)


def _agree(a: torch.Tensor, b: torch.Tensor) -> bool:
    """Tell whether two results differ by no more than sums in half precision or TF32 do."""
    return bool((a.float() - b.float()).abs().max() <= 0.02 * b.float().abs().max())


def milliseconds(function: Callable[[], object], warm_up: int = 3, times: int = 5) -> float:
    """Time a function on a GPU: the median of some calls, after some that don't count."""
    for _ in range(warm_up):
        function()
    measured = []
    for _ in range(times):
        start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))  # type: ignore[no-untyped-call]
        start.record()
        function()
        end.record()
        end.synchronize()
        measured.append(start.elapsed_time(end))
    return statistics.median(measured)


@functools.lru_cache(maxsize=1)
def _warn_once(reason: str) -> None:
    warnings.warn(f"PyConv takes the reference backend, because its Triton kernels fail here ({reason})", stacklevel=2)
