"""How much memory something takes at its peak."""

from __future__ import annotations

import multiprocessing
import os
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import TypeVar
from unittest import mock

import torch

from nnunet_pyconv.child_processes import end_with_parent

Result = TypeVar("Result")

_STATUS = Path("/proc/self/status")
_RESET = Path("/proc/self/clear_refs")


def peak_growth_bytes(function: Callable[[], object], device: torch.device) -> int | None:
    """Call a function and tell by how much the memory in use grew at its peak.

    Args:
        function: What to call.
        device: On a GPU, what torch has allocated there is measured; on a CPU, the resident memory of this process,
            which only Linux reports (`VmHWM`), and which counts only what no earlier call left behind for reuse: to be
            called in a process of its own, see `in_fresh_process`.

    Returns:
        Growth in bytes; None where the system doesn't report it.
    """
    if device.type == "cuda":
        torch.cuda.synchronize(device)
        torch.cuda.reset_peak_memory_stats(device)
        before = torch.cuda.memory_allocated(device)
        function()
        torch.cuda.synchronize(device)
        return torch.cuda.max_memory_allocated(device) - before
    if device.type != "cpu" or not _RESET.exists():
        return None
    _RESET.write_text("5")  # the peak is from now on, see proc(5)
    before = _resident_bytes()
    function()
    return _resident_bytes() - before


def megabytes(size: int | None) -> float | None:
    """Convert bytes to MB (10^6 bytes); None stays None."""
    return None if size is None else size / 1e6


def in_fresh_process(function: Callable[[], Result]) -> Result:
    """Return what a function that can be pickled returns in a new process with as many threads.

    Memory that is freed there leaves the process at once, where the C library is glibc: what it keeps for reuse would
    differ from run to run.
    """
    context = multiprocessing.get_context("spawn")
    with (
        mock.patch.dict(os.environ, MALLOC_MMAP_THRESHOLD_="65536", MALLOC_MMAP_MAX_="1000000"),
        ProcessPoolExecutor(1, mp_context=context, initializer=_begin, initargs=(torch.get_num_threads(),)) as pool,
    ):
        return pool.submit(function).result()


def _begin(num_threads: int) -> None:
    end_with_parent()
    torch.set_num_threads(num_threads)


def _resident_bytes() -> int:
    """Return the peak of the resident memory since the last reset."""
    line = next(line for line in _STATUS.read_text().splitlines() if line.startswith("VmHWM"))
    return int(line.split()[1]) * 1024
