"""`nnunet_pyconv benchmark precisions`."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from nnunet_pyconv.cli.benchmark.common import add_common_arguments, run_benchmark
from nnunet_pyconv.cli.parser import positive
from nnunet_pyconv.errors import InputError

if TYPE_CHECKING:
    import torch

    from nnunet_pyconv.benchmarks.report import Measurements


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the subject's arguments."""
    parser.description = (
        "Export trained 2D models in each precision, and compare Dice, size of the file, time of a slice and peak "
        "memory of a process that predicts it. The first fold of a model is taken; nnUNet_preprocessed needs the cases "
        "that it was trained with."
    )
    add_common_arguments(parser, rounds=5)
    parser.add_argument(
        "models",
        nargs="+",
        type=Path,
        metavar="MODEL_FOLDER",
        help="nnUNet_results/DATASET/TRAINER__PLANS__CONFIGURATION",
    )
    parser.add_argument("--threads", type=positive, default=1, metavar="N", help="default: 1")


def run(args: argparse.Namespace) -> None:
    """Measure, print and write."""
    from nnunet_pyconv.extras import require_extra

    require_extra("onnx", "onnx", "onnxruntime", "onnxscript")
    from nnunet_pyconv.benchmarks.precisions import benchmark_precisions

    def measure(device: torch.device) -> list[Measurements]:
        if device.type != "cpu":
            raise InputError(f"precisions are measured on a CPU, not on {device}; give -device cpu")
        return benchmark_precisions(args.models, args.threads, args.rounds)

    run_benchmark(args, measure)
