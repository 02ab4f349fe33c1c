"""Time nnU-Net's planned network with PyConv against the stock one: a training step, an inference, memory."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer

from nnunet_pyconv.benchmarks.candidates import STOCK, Candidate, PreparedTraining, measurable, peaks_of_step
from nnunet_pyconv.benchmarks.plans import plan
from nnunet_pyconv.benchmarks.report import Measurements, Value
from nnunet_pyconv.benchmarks.timing import ratios, time_in_turn
from nnunet_pyconv.errors import InputError
from nnunet_pyconv.trainers import (
    nnUNetTrainerPyConvBottleneck,
    nnUNetTrainerPyConvDilated,
    nnUNetTrainerPyConvSeparable,
)

PYCONV = "PyConv"
BFLOAT16 = "PyConv bfloat16"
CANDIDATES = {
    **STOCK,
    PYCONV: Candidate(),
    "PyConv bottleneck": Candidate(nnUNetTrainerPyConvBottleneck),
    "PyConv dilated": Candidate(nnUNetTrainerPyConvDilated),
    "PyConv separable": Candidate(nnUNetTrainerPyConvSeparable),
    "stock, half as wide": Candidate(nnUNetTrainer, width=0.5),
    "PyConv, half as wide": Candidate(width=0.5),
    "PyConv dilated, half as wide": Candidate(nnUNetTrainerPyConvDilated, width=0.5),
    "PyConv separable, half as wide": Candidate(nnUNetTrainerPyConvSeparable, width=0.5),
    BFLOAT16: Candidate(bfloat16=True),
}
ONCE = {
    "PyConv level by level": Candidate(setting="reference"),
    "stock, compiled": Candidate(nnUNetTrainer, compiled=True),
    "PyConv, compiled": Candidate(compiled=True),
}
"""What takes long, the published way and `torch.compile`, is measured for the first patch size alone."""


def chosen(names: Sequence[str] | None) -> tuple[dict[str, Candidate], dict[str, Candidate]]:
    """Choose candidates by name; those of `STOCK` are always among them.

    Args:
        names: Keys of `CANDIDATES` and `ONCE`, None for all.

    Returns:
        What to measure for all patch sizes, and for the first one.

    Raises:
        InputError: A name that no candidate has.
    """
    known = {**CANDIDATES, **ONCE}
    wanted = list(known) if names is None else [*STOCK, *names]
    if unknown := [name for name in wanted if name not in known]:
        raise InputError(f"--networks {unknown[0]!r} is unknown; expected some of {', '.join(map(repr, known))}")
    everywhere = {name: candidate for name, candidate in CANDIDATES.items() if name in wanted}
    first = {name: candidate for name, candidate in ONCE.items() if name in wanted}
    return everywhere, first


def benchmark_network(
    patch_sizes: Sequence[Sequence[int]],
    batch_size: int,
    rounds: int,
    device: torch.device,
    everywhere: Mapping[str, Candidate] = CANDIDATES,
    first: Mapping[str, Candidate] = ONCE,
) -> list[Measurements]:
    """Measure a training step and an inference of nnU-Net's default network for each patch size.

    Args:
        patch_sizes: In pixels, two or three axes each.
        batch_size: Patches of a step and of an inference.
        rounds: Counted calls of each function; the results are medians.
        device: Where to measure.
        everywhere: The candidates; those of `STOCK` must be among them.
        first: Candidates to measure for the first patch size, too.

    Returns:
        A table with a row for each patch size and candidate: parameters, multiplications, times and their ratios to the
        stock network in its best memory format, peak memory and its ratio; on a CPU also a table of bfloat16 against
        float32.
    """
    rows: list[dict[str, Value]] = []
    half: list[dict[str, Value]] = []
    for patch_size in patch_sizes:
        plan(patch_size)  # what nnU-Net wouldn't plan is refused before anything is measured
    for patch_size in patch_sizes:
        compared = measurable(everywhere if rows else {**everywhere, **first}, device)
        patch = "x".join(map(str, patch_size))
        planned = plan(patch_size, batch_size)
        prepared = {name: PreparedTraining(candidate, planned, device) for name, candidate in compared.items()}
        steps = time_in_turn({name: p.train for name, p in prepared.items()}, rounds, device, f"training step {patch}")
        for each in prepared.values():
            each.stop_training()
        inferences = time_in_turn({name: p.infer for name, p in prepared.items()}, rounds, device, f"inference {patch}")
        training, inference = ratios(steps, list(STOCK)), ratios(inferences, list(STOCK))
        new: dict[str, dict[str, Value]] = {
            name: {
                "patch": patch,
                "network": name,
                "parameters, M": each.parameters_m(),
                "GMac": each.gmac(),
                "training step, ms": training[name].time_ms,
                "step / stock": training[name],
                "inference, ms": inference[name].time_ms,
                "inference / stock": inference[name],
                "layers": each.backends(),
            }
            for name, each in prepared.items()
        }
        del prepared, each  # their memory
        # the others differ in time alone and take long
        measured = {name: candidate for name, candidate in compared.items() if name in everywhere}
        peaks = peaks_of_step(measured, planned, device)
        least = min(peaks[name] or 0.0 for name in STOCK)
        for name, peak in peaks.items():
            new[name] |= {"peak memory, MB": peak, "peak / stock": peak / least if peak and least else None}
        rows += new.values()
        if BFLOAT16 in compared:
            parts = {"training step": steps, "inference": inferences}
            half.append({"patch": patch, **{part: ratios(of, [PYCONV])[BFLOAT16] for part, of in parts.items()}})
    title = f"nnU-Net's default network, batch {batch_size}; ratios to the better stock one, median (quartiles)"
    tables = [Measurements(title, rows)]
    if half:
        tables.append(Measurements("PyConv, bfloat16 under autocast: time / time in float32, median (quartiles)", half))
    return tables
