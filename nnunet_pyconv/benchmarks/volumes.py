"""Train nnU-Net's stock plans with the stock trainer and with PyConv on small volumes: cost and Dice of both."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

import torch
from batchgenerators.utilities.file_and_folder_operations import load_json
from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer
from nnunetv2.utilities.file_path_utilities import get_output_folder

from nnunet_pyconv.benchmarks import short_training
from nnunet_pyconv.benchmarks.candidates import Candidate, PreparedTraining, peaks_of_step
from nnunet_pyconv.benchmarks.plans import BenchmarkPlans
from nnunet_pyconv.benchmarks.report import Measurements, Value
from nnunet_pyconv.benchmarks.timing import ratios, time_in_turn
from nnunet_pyconv.errors import InputError
from nnunet_pyconv.nnunet_commands import Step, run_steps
from nnunet_pyconv.synthetic.volumes import write_synthetic_volumes
from nnunet_pyconv.synthetic.workspace import Workspace
from nnunet_pyconv.trainer_dir import TRAINER_DIR

DATASET = "Dataset021_Blobs"
DATASET_ID = "21"
CASES = 10
"""A fifth of them validates."""
PLANS = {"plain": "nnUNetPlans", "residual": "nnUNetResEncUNetMPlans"}
STOCK = "nnUNetTrainer"
COMPARED = {STOCK: Candidate(nnUNetTrainer), "nnUNetTrainerPyConv": Candidate()}
TARGET_GB = "0.05"
"""Of the planners: so little that a patch in 3D is a part of a volume."""
LOG_LINES = 30


def benchmark_volumes(
    configurations: Sequence[str], epochs: int, iterations: int, rounds: int, device: torch.device
) -> list[Measurements]:
    """Plan, preprocess and train through nnU-Net's commands, then measure a training step of the same plans.

    Everything is written to a temporary folder.

    Args:
        configurations: `2d`, `3d_fullres` or both.
        epochs: Of each training.
        iterations: Of each epoch.
        rounds: Counted training steps of each network; the results are medians.
        device: Where to train and to measure.

    Returns:
        A table with a row for each configuration, encoder and trainer.

    Raises:
        InputError: A command of nnU-Net that failed.
    """
    rows: list[dict[str, Value]] = []
    with tempfile.TemporaryDirectory(prefix="nnunet_pyconv-") as folder:
        workspace = Workspace(Path(folder))
        workspace.prepare(overwrite=False)
        with workspace.environment():
            write_synthetic_volumes(workspace.raw, DATASET, train=CASES, test=0)
            steps = _steps(workspace, configurations, epochs, iterations, device)
            outcome = run_steps("volumes", steps, Path(folder) / "volumes.log")
            if outcome.failure:
                said = "\n".join(outcome.log.read_text().splitlines()[-LOG_LINES:])
                raise InputError(f"{outcome.failure}; the end of what it printed:\n{said}")
            for configuration in configurations:
                for encoder, plans in PLANS.items():
                    rows += _rows(workspace, configuration, encoder, plans, rounds, device)
    title = (
        f"Stock plans, {epochs} epochs of {iterations} iterations on small volumes; ratios to {STOCK}, median "
        "(quartiles); GMac of a forward pass in training, with all heads; mean Dice of the validation cases"
    )
    return [Measurements(title, rows)]


def _steps(
    workspace: Workspace, configurations: Sequence[str], epochs: int, iterations: int, device: torch.device
) -> Iterator[Step]:
    common = ["-d", DATASET_ID, "-gpu_memory_target", TARGET_GB]
    yield Step(
        "plan and preprocess",
        ["nnUNetv2_plan_and_preprocess", *common, "-c", *configurations, "-npfp", "1", "-np", "1"],
    )
    # the planners of nnU-Net's residual networks share the data of its default planner
    yield Step("plan residual encoders", ["nnUNetv2_plan_experiment", *common, "-pl", "nnUNetPlannerResEncM"])

    trainers = workspace.folder / "trainers"
    trainers.mkdir()
    names = ", ".join(f"{trainer}Short" for trainer in COMPARED)
    (trainers / "short_trainers.py").write_text(f"from {short_training.__name__} import {names}\n")
    environment = {
        "nnUNet_extTrainer": os.pathsep.join([str(TRAINER_DIR), str(trainers)]),
        short_training.EPOCHS: str(epochs),
        short_training.ITERATIONS: str(iterations),
    }
    for configuration in configurations:
        for encoder, plans in PLANS.items():
            for trainer in COMPARED:
                command = ["nnUNetv2_train", DATASET_ID, configuration, "0", "-tr", f"{trainer}Short", "-p", plans]
                name = f"train {configuration}, {encoder}, {trainer}"
                yield Step(name, [*command, "-device", device.type], environment)


def _rows(
    workspace: Workspace, configuration: str, encoder: str, plans: str, rounds: int, device: torch.device
) -> list[dict[str, Value]]:
    preprocessed = workspace.preprocessed / DATASET
    planned = BenchmarkPlans(
        load_json(str(preprocessed / f"{plans}.json")), configuration, load_json(str(preprocessed / "dataset.json"))
    )
    prepared = {trainer: PreparedTraining(candidate, planned, device) for trainer, candidate in COMPARED.items()}
    title = f"training step {configuration}, {encoder}"
    steps = ratios(time_in_turn({name: p.train for name, p in prepared.items()}, rounds, device, title), [STOCK])
    costs = {name: (p.parameters_m(), p.gmac()) for name, p in prepared.items()}
    del prepared  # its memory
    peaks = peaks_of_step(COMPARED, planned, device)
    of_stock = peaks[STOCK]
    rows: list[dict[str, Value]] = []
    for trainer, (parameters_m, gmac) in costs.items():
        peak = peaks[trainer]
        model = Path(get_output_folder(DATASET, f"{trainer}Short", plans, configuration))
        rows.append(
            {
                "configuration": configuration,
                "patch": "x".join(map(str, planned.plans["configurations"][configuration]["patch_size"])),
                "encoder": encoder,
                "trainer": trainer,
                "parameters, M": parameters_m,
                "GMac": gmac,
                "iteration, s": steps[trainer].time_ms / 1e3,
                "iteration / stock": steps[trainer],
                "peak memory, MB": peak,
                "peak / stock": peak / of_stock if peak and of_stock else None,
                "Dice": load_json(str(model / "fold_0" / "validation" / "summary.json"))["foreground_mean"]["Dice"],
            }
        )
    return rows
