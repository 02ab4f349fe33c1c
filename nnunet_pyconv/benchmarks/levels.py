"""Time single levels in the compiled kernel, the library and the fold: what the cost rules are fitted to."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from functools import partial

import torch

from nnunet_pyconv.benchmarks.report import Measurements, Value
from nnunet_pyconv.benchmarks.timing import Ratio, ratios, time_in_turn
from nnunet_pyconv.nn.backends.fold import folded
from nnunet_pyconv.nn.backends.native.kernel import native_levels
from nnunet_pyconv.nn.backends.reference import convolve

Shape = tuple[int, int, int]
"""Batch, channels and edge of the map in pixels."""

SHAPES: tuple[Shape, ...] = ((2, 32, 256), (2, 64, 128), (2, 128, 64), (4, 256, 32), (4, 512, 16), (8, 512, 8))
LEVELS = ((3, 1), (5, 4), (7, 8), (9, 16))
"""Kernel and groups, of which no more are taken than a quarter of the channels."""

LIBRARY = "library"
FOLDS = {
    f"fold {rows}x{columns}": (rows, columns) for rows, columns in [(1, 2), (2, 2), (1, 4), (2, 4), (1, 8), (4, 4)]
}


def benchmark_levels(shapes: Sequence[Shape], ways: Sequence[str], rounds: int) -> list[Measurements]:
    """Measure levels that give a quarter of the channels, on a CPU.

    Args:
        shapes: Inputs.
        ways: "kernel" or keys of `FOLDS`.
        rounds: Counted calls of each function; the results are medians.

    Returns:
        A table of inference and one of forward + backward: ratios to the library's convolution.
    """
    rows: dict[str, list[dict[str, Value]]] = {"Inference": [], "Forward + backward": []}
    for shape, (k, wanted) in itertools.product(shapes, LEVELS):
        outputs = shape[1] // 4
        groups = min(wanted, outputs)
        level = f"{k} / {groups} ({shape[1] // groups}, {outputs // groups})"
        for part, measured in _measure(shape, k, groups, ways, rounds).items():
            head: dict[str, Value] = {
                "N x C x edge": " x ".join(map(str, shape)),
                "kernel / groups (in, out)": level,
                "library, ms": measured[LIBRARY].time_ms,
            }
            rows[part].append(head | {way: measured[way] for way in ways})
    return [Measurements(f"{part}, time / time of the library, median (quartiles)", rows[part]) for part in rows]


def _measure(shape: Shape, k: int, groups: int, ways: Sequence[str], rounds: int) -> dict[str, dict[str, Ratio]]:
    batch, channels, edge = shape
    x = torch.randn(batch, channels, edge, edge)
    w = torch.randn(channels // 4, channels // groups, k, k)

    def infer(way: str, x: torch.Tensor, w: torch.Tensor) -> torch.Tensor:
        if way == LIBRARY:
            return convolve(x, w, None, (1, 1), groups)
        if way == "kernel":
            return native_levels(x, [w], [], [groups], [1, 1], [])
        return folded(x, w, None, (1, 1), groups, block=FOLDS[way])

    def train(way: str, x: torch.Tensor, w: torch.Tensor) -> None:
        y = infer(way, x.detach().requires_grad_(), w.detach().requires_grad_())
        y.backward(torch.ones_like(y))  # type: ignore[no-untyped-call]

    result = {}
    for part, step in {"Inference": infer, "Forward + backward": train}.items():
        calls = {way: partial(step, way, x, w) for way in (LIBRARY, *ways)}
        times = time_in_turn(calls, rounds, x.device, f"{part} {batch} x {channels} x {edge}, kernel {k}")
        result[part] = ratios(times, [LIBRARY])
    return result
