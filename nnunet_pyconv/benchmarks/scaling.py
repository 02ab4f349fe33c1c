"""Time a PyConv layer against pixels, channels, batch and threads, and draw it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import torch

from nnunet_pyconv.benchmarks import layer
from nnunet_pyconv.benchmarks.layer import DENSE, LayerCase
from nnunet_pyconv.benchmarks.report import Measurements, Value
from nnunet_pyconv.benchmarks.timing import Ratio, ratios, time_in_turn

NAMES = ("auto", "reference")
LEVELS_LIMIT = 32 * 512**2
"""Values of an input beyond which a CPU takes ten seconds and more a call level by level."""


@dataclass(frozen=True)
class Sweep:
    """One quantity that grows while all others stay.

    Attributes:
        quantity: Its name; "threads" takes the number of threads from `values`.
        values: What it takes.
        cases: The layer and its input for each value.
    """

    quantity: str
    values: tuple[int, ...]
    cases: tuple[LayerCase, ...]


def sweeps(largest: int, threads: int) -> list[Sweep]:
    """Make the sweeps.

    Args:
        largest: Edge of the largest map in pixels; the other sizes grow with it.
        threads: The most threads; 0 leaves that sweep out.
    """
    edges = tuple(sorted({largest, *(edge for edge in (64, 128, 256, 512, 1024) if edge < largest)}))
    channels = (32, 64, 128, 256, 512)
    batches = (1, 2, 4, 8, 16)
    edge = max(1, largest // 16)
    result = [
        Sweep("pixels", tuple(e**2 for e in edges), tuple(LayerCase(1, 32, e) for e in edges)),
        Sweep("channels", channels, tuple(LayerCase(1, c, edge) for c in channels)),
        Sweep("batch", batches, tuple(LayerCase(n, 64, edge) for n in batches)),
    ]
    if threads:
        counts = tuple(sorted({threads, *(2**power for power in range(threads.bit_length()))}))
        result.append(Sweep("threads", counts, (LayerCase(2, 64, 2 * edge),) * len(counts)))
    return result


def benchmark_scaling(chosen: Sequence[Sweep], rounds: int, device: torch.device) -> list[Measurements]:
    """Measure inference and forward + backward of the dense convolution, "auto" and level by level.

    Args:
        chosen: What grows.
        rounds: Counted calls of each function; the results are medians.
        device: Where to measure: a CPU in float32, a GPU in float16 under autocast.

    Returns:
        One table; its rows have the quantity, its value, part, time of the dense convolution, and for the backends
        time and ratio. Level by level is left out on a CPU where it takes very long.
    """
    rows: list[dict[str, Value]] = []
    threads = torch.get_num_threads()
    dtype = "float16" if device.type == "cuda" else "float32"
    for sweep in chosen:
        for value, case in zip(sweep.values, sweep.cases, strict=True):
            values = case.batch * case.channels * case.edge**2
            names = NAMES if device.type == "cuda" or values <= LEVELS_LIMIT else NAMES[:1]
            built = layer.layer_calls(case, names, device, layer.DTYPES[dtype])
            if sweep.quantity == "threads":
                torch.set_num_threads(value)
            try:
                for part, step in layer.PARTS.items():
                    measured = _measure(built, step, rounds, device, f"{sweep.quantity} {value}, {part}")
                    row = _row(sweep.quantity, value, case, part, measured)
                    rows.append({**row, "auto is": built["auto"].chosen()})
            finally:
                torch.set_num_threads(threads)
    return [Measurements(f"One layer, {dtype}; ratios to the dense convolution in its best memory format", rows)]


def _measure(
    built: dict[str, layer.LayerCall],
    step: Callable[[layer.LayerCall], object],
    rounds: int,
    device: torch.device,
    title: str,
) -> dict[str, Ratio]:
    calls = {name: partial(step, call) for name, call in built.items()}
    return ratios(time_in_turn(calls, rounds, device, title), DENSE)


def _row(quantity: str, value: int, case: LayerCase, part: str, measured: dict[str, Ratio]) -> dict[str, Value]:
    row: dict[str, Value] = {
        "growing": quantity,
        "value": value,
        "N x C x size": str(case),
        "part": part,
        "dense, ms": min(measured[name].time_ms for name in DENSE),
    }
    for name in NAMES:
        ratio = measured.get(name)
        row |= {f"{name}, ms": ratio.time_ms if ratio else None, f"{name} / dense": ratio}
    return row


def draw(tables: Sequence[Measurements], file: Path) -> None:
    """Draw time against each quantity, both on logarithmic axes, into a PNG."""
    from matplotlib.figure import Figure

    rows = tables[0].rows
    quantities = list(dict.fromkeys(row["growing"] for row in rows))
    figure = Figure(figsize=(3.2 * len(quantities), 3.4), layout="constrained")
    axes = figure.subplots(1, len(quantities), squeeze=False)[0]
    for axis, quantity in zip(axes, quantities, strict=True):
        for part, line in zip(layer.PARTS, ("--", "-"), strict=True):
            of_part = [row for row in rows if row["growing"] == quantity and row["part"] == part]
            for colour, name in enumerate(("dense", *NAMES)):
                points = [(row["value"], row[f"{name}, ms"]) for row in of_part if row[f"{name}, ms"] is not None]
                label = f"{'PyConv, ' if name in NAMES else ''}{name}: {part.lower()}"
                axis.plot(*zip(*points, strict=True), line, color=f"C{colour}", marker=".", label=label)
        axis.set_xscale("log", base=2)
        axis.set_yscale("log")
        axis.set_xlabel(str(quantity))
        axis.grid(alpha=0.3)
    axes[0].set_ylabel("time of a layer, ms")
    figure.legend(*axes[0].get_legend_handles_labels(), loc="outside lower center", ncols=2, frameon=False)
    figure.savefig(file, dpi=120)
