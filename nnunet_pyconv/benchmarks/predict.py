"""Time nnU-Net's predictor with PyConv against the stock network: sliding window and mirroring, no preprocessing."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Mapping, Sequence
from functools import partial

import torch
from nnunetv2.inference.predict_from_raw_data import nnUNetPredictor

from nnunet_pyconv.benchmarks.candidates import STOCK, Candidate, PreparedTraining, measurable
from nnunet_pyconv.benchmarks.network import CANDIDATES
from nnunet_pyconv.benchmarks.plans import plan
from nnunet_pyconv.benchmarks.report import Measurements, Value
from nnunet_pyconv.benchmarks.timing import ratios, time_in_turn


def benchmark_predict(
    patch_sizes: Sequence[int],
    image_size: int,
    rounds: int,
    device: torch.device,
    compared: Mapping[str, Candidate] = CANDIDATES,
) -> list[Measurements]:
    """Measure the prediction of one slice for each patch size.

    Args:
        patch_sizes: Edges of square patches, in pixels.
        image_size: Edge of the square slice, in pixels.
        rounds: Counted calls of each function; the results are medians.
        device: Where to measure.
        compared: The candidates; those of `STOCK` must be among them.

    Returns:
        A table with a row for each patch size and a column for each candidate but the stock ones.
    """
    rows: list[dict[str, Value]] = []
    image = torch.randn(1, 1, image_size, image_size)
    compared = measurable(compared, device)
    for edge in patch_sizes:
        plan((edge, edge))  # what nnU-Net wouldn't plan is refused before anything is measured
    for edge in patch_sizes:
        calls = {}
        for name, candidate in compared.items():
            predictor = _predictor(PreparedTraining(candidate, plan((edge, edge)), device), device)
            calls[name] = partial(_predict, predictor, candidate, image)
        measured = ratios(time_in_turn(calls, rounds, device, f"patch {edge}x{edge}"), list(STOCK))
        row: dict[str, Value] = {
            "patch": f"{edge}x{edge}",
            "stock, s": min(measured[name].time_ms for name in STOCK) / 1e3,
        }
        rows.append(row | {name: ratio for name, ratio in measured.items() if name not in STOCK})
    title = (
        f"Prediction of a slice of {image_size}x{image_size}, sliding window and mirroring; "
        "time / time of the better stock network, median (quartiles)"
    )
    return [Measurements(title, rows)]


def _predictor(prepared: PreparedTraining, device: torch.device) -> nnUNetPredictor:
    prepared.stop_training()
    trainer = prepared.trainer
    with contextlib.redirect_stdout(io.StringIO()):  # nnU-Net prints
        predictor = nnUNetPredictor(device=device, allow_tqdm=False)
        predictor.manual_initialization(
            trainer.network,
            trainer.plans_manager,
            trainer.configuration_manager,
            [prepared.network.state_dict()],
            trainer.dataset_json,
            type(trainer).__name__,
            (0, 1),
        )
    return predictor


def _predict(predictor: nnUNetPredictor, candidate: Candidate, image: torch.Tensor) -> None:
    with candidate.conditions():
        predictor.predict_logits_from_preprocessed_data(image)
