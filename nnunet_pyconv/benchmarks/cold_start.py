"""Time a prediction from the shell to the written labels: nnU-Net's command, and the model file."""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from functools import partial
from pathlib import Path

import torch

from nnunet_pyconv.benchmarks.report import Measurements, Value
from nnunet_pyconv.benchmarks.timing import ratios, time_in_turn
from nnunet_pyconv.errors import InputError
from nnunet_pyconv.export import export_model
from nnunet_pyconv.names import FINAL_CHECKPOINT
from nnunet_pyconv.nnunet_commands import variables_for_commands
from nnunet_pyconv.sharing.model_folder import open_model

NNUNET = "nnUNetv2_predict"


def benchmark_cold_start(folders: Sequence[Path], images: Path, mirroring: bool, rounds: int) -> list[Measurements]:
    """Predict the images of a folder in new processes, in turn by nnU-Net and by the exported model, on a CPU.

    Args:
        folders: `nnUNet_results/DATASET/TRAINER__PLANS__CONFIGURATION` of each model. The first fold is taken.
        images: Images as nnU-Net wants them, for example one.
        mirroring: Whether both average over mirrored images, as is nnU-Net's default.
        rounds: Counted predictions of each.

    Returns:
        A table with a row for each model: both times, and nnU-Net's / the model file's.

    Raises:
        InputError: A model that can't be exported, or a prediction that fails.
    """
    rows: list[dict[str, Value]] = []
    for folder in folders:
        model = open_model(folder, None, FINAL_CHECKPOINT)
        with tempfile.TemporaryDirectory() as scratch:
            file = Path(scratch) / "model.pyz"
            export_model(model.path, file, folds=[model.folds[0]])
            flags = ["-i", str(images), "-device", "cpu", *([] if mirroring else ["--disable_tta"])]
            by_nnunet = ["nnUNetv2_predict_from_modelfolder", "-m", str(model.path), "-f", model.folds[0], *flags]
            commands = {
                NNUNET: [*by_nnunet, "-chk", FINAL_CHECKPOINT],
                "model file": [sys.executable, str(file), *flags],
            }
            calls = {name: partial(_run, command) for name, command in commands.items()}
            times = ratios(time_in_turn(calls, rounds, torch.device("cpu"), model.model), ["model file"])
        rows.append(
            {
                "model": model.model,
                **{f"{name}, s": time.time_ms / 1e3 for name, time in times.items()},
                f"{NNUNET} / model file": times[NNUNET],
            }
        )
    title = f"Prediction of {images.name} from a cold start, {'with' if mirroring else 'without'} mirroring"
    return [Measurements(f"{title}; median (quartiles)", rows)]


def _run(command: Sequence[str]) -> None:
    environment = {**os.environ, **variables_for_commands()}
    with tempfile.TemporaryDirectory() as predictions:
        done = subprocess.run([*command, "-o", predictions], env=environment, capture_output=True, text=True)
    if done.returncode:
        raise InputError(f"{shlex.join(command)} failed:\n{done.stderr.strip()[-2000:]}")
