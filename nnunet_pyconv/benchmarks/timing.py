"""Time several functions against each other, in turn and in one process."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from tqdm import tqdm

WARM_UP_ROUNDS = {"cpu": 1, "cuda": 5, "mps": 5}
"""Rounds that are not counted; on a GPU, libraries try their algorithms in them and the clock rises."""

_HEAD_START_BYTES = 2**31


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


def time_in_turn(
    functions: Mapping[str, Callable[[], object]], rounds: int, device: torch.device, title: str
) -> dict[str, list[float]]:
    """Call every function once a round, after rounds that are not counted.

    Functions that are timed in turn meet the same disturbances, so ratios within a round can be trusted on a busy
    machine, where the times themselves can't.

    Args:
        functions: What to time.
        rounds: How often, at least 1.
        device: Where they compute; times on a GPU are those between two of its events.
        title: What the progress bar says.

    Returns:
        For each function its time in each round, in milliseconds.
    """
    stopwatch = _cuda_stopwatch(device) if device.type == "cuda" else _stopwatch
    times: dict[str, list[float]] = {name: [] for name in functions}
    warm_up = WARM_UP_ROUNDS[device.type]
    for round_ in tqdm(range(warm_up + rounds), desc=title, unit="round", leave=False):
        for name, function in functions.items():
            time_ms = stopwatch(function)
            if round_ >= warm_up:
                times[name].append(time_ms)
    return times


def _stopwatch(function: Callable[[], object]) -> float:
    start = time.perf_counter()
    function()
    return (time.perf_counter() - start) * 1e3


def _cuda_stopwatch(device: torch.device) -> Callable[[Callable[[], object]], float]:
    """Time the device alone: a large fill gives the host a head start at launching and empties the device's cache."""
    buffer = torch.empty(_HEAD_START_BYTES, dtype=torch.uint8, device=device)

    def stopwatch(function: Callable[[], object]) -> float:
        start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))  # type: ignore[no-untyped-call]
        torch.cuda.synchronize(device)
        buffer.zero_()
        start.record()
        function()
        end.record()
        end.synchronize()
        return start.elapsed_time(end)

    return stopwatch


def ratios(times: Mapping[str, list[float]], references: Sequence[str]) -> dict[str, Ratio]:
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
        low, middle, high = quartiles(quotients)
        result[name] = Ratio(statistics.median(of_rounds), middle, low, high)
    return result


def quartiles(values: Sequence[float]) -> tuple[float, float, float]:
    """Lower quartile, median and upper quartile, all within the range of the values (at least one)."""
    low, median, high = np.percentile(values, (25, 50, 75)).tolist()
    return low, median, high
