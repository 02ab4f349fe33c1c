"""`nnunet_pyconv benchmark precisions`."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from nnunet_pyconv.cli.benchmark.common import add_common_arguments, add_model_folders, run_on_cpu
from nnunet_pyconv.cli.parser import positive

if TYPE_CHECKING:
    from nnunet_pyconv.benchmarks.report import Measurements


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the subject's arguments."""
    parser.description = (
        "Export trained 2D models in each precision, and compare Dice, size of the file, time of a slice and peak "
        "memory of a process that predicts it. The first fold of a model is taken; nnUNet_preprocessed needs the cases "
        "that it was trained with."
    )
    add_common_arguments(parser, rounds=5)
    add_model_folders(parser)
    parser.add_argument("--threads", type=positive, default=1, metavar="N", help="default: 1")


def run(args: argparse.Namespace) -> None:
    """Measure, print and write."""
    from nnunet_pyconv.extras import ONNX_MODULES, require_extra

    require_extra("onnx", *ONNX_MODULES)
    from nnunet_pyconv.benchmarks.precisions import benchmark_precisions

    def measure() -> list[Measurements]:
        return benchmark_precisions(args.models, args.threads, args.rounds)

    run_on_cpu(args, measure)
