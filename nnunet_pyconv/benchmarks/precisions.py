"""Export trained models in each precision, and measure what it costs and saves where they are deployed."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import get_args
from unittest import mock

import numpy as np
import torch
from numpy.typing import NDArray

from nnunet_pyconv.benchmarks.report import Measurements, Value
from nnunet_pyconv.benchmarks.timing import ratios, time_in_turn
from nnunet_pyconv.errors import InputError
from nnunet_pyconv.export import export_model
from nnunet_pyconv.export.training_cases import TrainingCases, mean_dice
from nnunet_pyconv.names import FINAL_CHECKPOINT
from nnunet_pyconv.runtime.description import Precision
from nnunet_pyconv.runtime.model_file import ModelFile
from nnunet_pyconv.runtime.network import OnnxNetwork
from nnunet_pyconv.runtime.predictor import Predictor, Settings
from nnunet_pyconv.sharing.model_folder import ModelFolder, open_model

PRECISIONS: tuple[Precision, ...] = get_args(Precision)
REFERENCE: Precision = "fp32"
EDGE = 512

# within a model file, so that neither torch nor the rest of this package counts
_PEAK_MEMORY = """
import sys
sys.path.insert(0, sys.argv[1])
import numpy
from nnunet_pyconv.runtime.predictor import Predictor, Settings
Predictor(sys.argv[1], Settings("cpu", mirroring=False))(numpy.load(sys.argv[2]), tuple(map(float, sys.argv[3:])))
(line,) = [line for line in open("/proc/self/status") if line.startswith("VmHWM")]
print(line.split()[1])
"""


def benchmark_precisions(folders: Sequence[Path], threads: int, rounds: int) -> list[Measurements]:
    """Compare the precisions of `nnunet_pyconv export` for trained models of slices, on a CPU.

    Args:
        folders: `nnUNet_results/DATASET/TRAINER__PLANS__CONFIGURATION` of each; their preprocessed cases have to be
            in `nnUNet_preprocessed`. The first fold is taken.
        threads: Of the prediction.
        rounds: Counted predictions in each precision; the results are medians.

    Returns:
        A table with a row for each model and precision.

    Raises:
        InputError: A model that can't be exported, or one of volumes.
    """
    models = [open_model(folder, None, FINAL_CHECKPOINT) for folder in folders]
    for model in models:
        if len(model.configuration_manager.patch_size) != 2:
            raise InputError(f"{model.path} predicts volumes, and slices are timed here; give a 2d configuration")
    rows = []
    with mock.patch.dict(os.environ, OMP_NUM_THREADS=str(threads)):
        for model in models:
            rows += _rows(model, rounds)
    title = (
        f"Prediction of a slice of {EDGE} x {EDGE} without mirroring, {threads} thread{'s' * (threads > 1)}; Dice of "
        "the fold's validation cases, preprocessed; ratios to fp32, median (quartiles)"
    )
    return [Measurements(title, rows)]


def _rows(model: ModelFolder, rounds: int) -> list[dict[str, Value]]:
    fold = model.folds[0]
    cases = TrainingCases(model, fold)
    with tempfile.TemporaryDirectory() as scratch:
        files = {precision: Path(scratch) / f"{precision}.pyz" for precision in PRECISIONS}
        exports = {
            precision: export_model(model.path, file, folds=[fold], precision=precision, force=True)
            for precision, file in files.items()
        }
        description = exports[REFERENCE].description
        slice_ = np.random.default_rng(0).normal(size=(len(description.channels), EDGE, EDGE)).astype(np.float32)
        predictions: dict[str, Callable[[], object]] = {
            precision: partial(Predictor(file, Settings("cpu", mirroring=False)), slice_, description.spacing)
            for precision, file in files.items()
        }
        times = ratios(time_in_turn(predictions, rounds, torch.device("cpu"), model.model), [REFERENCE])
        bytes_ = {precision: file.stat().st_size for precision, file in files.items()}
        rows: list[dict[str, Value]] = []
        for precision, file in files.items():
            network = OnnxNetwork(ModelFile.open(file).network(description.networks[0].file), "cpu", file.name)
            quantized = exports[precision].quantized.get(fold)
            rows.append(
                {
                    "model": model.model,
                    "precision": precision,
                    "Dice": f"{mean_dice(network, cases.validation(None), description):.4f}",
                    "file, MB": bytes_[precision] / 1e6,
                    "file / fp32": bytes_[precision] / bytes_[REFERENCE],
                    "slice, s": times[precision].time_ms / 1e3,
                    "slice / fp32": times[precision],
                    "peak memory, MB": _peak_memory_mb(file, slice_, description.spacing),
                    "convolutions in fp32": f"{quantized.in_float} of {quantized.convolutions}" if quantized else None,
                }
            )
    return rows


def _peak_memory_mb(model: Path, image: NDArray[np.float32], spacing: Sequence[float]) -> float | None:
    """Resident memory of a process that does nothing but predict, at its peak; None where the system doesn't tell."""
    if not Path("/proc/self/status").exists():
        return None
    array = model.with_suffix(".npy")
    np.save(array, image)
    command = [sys.executable, "-c", _PEAK_MEMORY, str(model), str(array), *map(str, spacing)]
    printed = subprocess.run(command, cwd=model.parent, capture_output=True, text=True, check=True).stdout
    return int(printed) * 1024 / 1e6
