"""Time several functions against each other, and say on what machine."""

from __future__ import annotations

import platform
import statistics
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import torch

from nnunet_pyconv.nn.execution import available_executions, build


@dataclass(frozen=True)
class Ratio:
    """How long something took compared with a reference.

    Attributes:
        time_ms: Median time.
        ratio: Median over the rounds of time / time of the reference in the same round.
        low: Lower quartile of these ratios.
        high: Upper quartile.
    """

    time_ms: float
    ratio: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.ratio:.2f} ({self.low:.2f}-{self.high:.2f})"


def time_in_turn(functions: Mapping[str, Callable[[], object]], rounds: int) -> dict[str, list[float]]:
    """Call every function once a round, after a first round that is not counted.

    Functions that are timed in turn meet the same disturbances, so ratios within a round can be trusted on a busy
    machine, where the times themselves can't.

    Args:
        functions: What to time.
        rounds: How often, at least 1.

    Returns:
        For each function its time in each round, in milliseconds.
    """
    times: dict[str, list[float]] = {name: [] for name in functions}
    for round_ in range(rounds + 1):
        for name, function in functions.items():
            start = time.perf_counter()
            function()
            if round_:
                times[name].append((time.perf_counter() - start) * 1e3)
    return times


def ratios(times: Mapping[str, list[float]], references: list[str]) -> dict[str, Ratio]:
    """Compare all with the reference whose median is the least.

    Args:
        times: What `time_in_turn` returned.
        references: Keys of `times`, for example one convolution in two memory formats.

    Returns:
        A ratio for each key.
    """
    best = min(references, key=lambda name: statistics.median(times[name]))
    result = {}
    for name, of_rounds in times.items():
        quotients = [t / reference for t, reference in zip(of_rounds, times[best], strict=True)]
        low, middle, high = statistics.quantiles(quotients, n=4) if len(quotients) > 1 else quotients * 3
        result[name] = Ratio(statistics.median(of_rounds), middle, low, high)
    return result


def machine() -> dict[str, object]:
    """Describe processor, threads, versions and available executions, without the machine's name."""
    name = platform.processor()
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        lines = cpuinfo.read_text().splitlines()
        name = next((line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), name)
    return {
        "processor": name,
        "instruction_set": torch.backends.cpu.get_cpu_capability(),
        "kernel": build.variant(),
        "threads": torch.get_num_threads(),
        "torch": torch.__version__,
        "python": platform.python_version(),
        "system": platform.system(),
        "executions": {name: reason or "available" for name, reason in available_executions().items()},
    }
