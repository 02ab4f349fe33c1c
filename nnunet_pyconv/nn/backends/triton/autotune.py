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
        _cudnn_benchmark(),
    ):
        x, *weights = (
            _values(shape, dtype, device).requires_grad_(trained)
            for shape in (work.x_size, *((z.groups * z.outputs, z.inputs, *z.kernel_size) for z in work.levels))
        )

        def run(y: torch.Tensor) -> list[torch.Tensor]:
            return [y, *(torch.autograd.grad(y, [x, *weights], y.detach()) if trained else ())]

        def by_triton() -> list[torch.Tensor]:
            return run(triton_levels(x, weights, [], groups, stride, geometry))

        def by_reference() -> list[torch.Tensor]:
            return run(convolve_levels(x, weights, work.levels, stride))

        if not all(_agree(a, b) for a, b in zip(by_triton(), by_reference(), strict=True)):
            raise ArithmeticError(f"what they compute for an input {work.x_size} in {dtype} differs")
        return "triton" if milliseconds(by_triton) < milliseconds(by_reference) else "reference"


@contextlib.contextmanager
def _cudnn_benchmark() -> Iterator[None]:
    """Let cuDNN look for its fastest algorithms, as nnU-Net does, perhaps only after a choice."""
    before = torch.backends.cudnn.benchmark
    torch.backends.cudnn.benchmark = True
    try:
        yield
    finally:
        torch.backends.cudnn.benchmark = before


def _values(shape: Sequence[int], dtype: torch.dtype, device: torch.device) -> torch.Tensor:
    """Fill a tensor with numbers that look random."""
    return (torch.arange(math.prod(shape), device=device, dtype=torch.float64) * 12.9898).sin().to(dtype).view(shape)


def _agree(a: torch.Tensor, b: torch.Tensor) -> bool:
    """Tell whether two results differ by no more than sums in half precision or TF32 do."""
    return bool((a.float() - b.float()).abs().max() <= 0.02 * b.float().abs().max())


def milliseconds(function: Callable[[], object]) -> float:
    """Time a function on a GPU: median of five after three calls that don't count."""
    for _ in range(3):
        function()
    times = []
    for _ in range(5):
        start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))  # type: ignore[no-untyped-call]
        start.record()
        function()
        end.record()
        end.synchronize()
        times.append(start.elapsed_time(end))
    return statistics.median(times)


@functools.lru_cache(maxsize=1)
def _warn_once(reason: str) -> None:
    warnings.warn(f"PyConv takes the reference backend, because its Triton kernels fail here ({reason})", stacklevel=2)
