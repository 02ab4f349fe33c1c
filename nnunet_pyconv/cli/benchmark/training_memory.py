"""`nnunet_pyconv benchmark training_memory`."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from nnunet_pyconv.cli.benchmark.common import add_common_arguments, run_benchmark

if TYPE_CHECKING:
    import torch

    from nnunet_pyconv.benchmarks.report import Measurements


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the subject's arguments."""
    parser.description = (
        "Train networks of nnU-Net's 8 GB plans, with PyConv, for some steps on a GPU, and put the peak of the memory "
        "beside the estimate by which our planners choose patch and batch. On a CPU the estimates alone are printed."
    )
    add_common_arguments(parser, rounds=3)


def run(args: argparse.Namespace) -> None:
    """Measure, print and write."""
    from nnunet_pyconv.benchmarks.training_memory import CASES, benchmark_training_memory

    def measure(device: torch.device) -> list[Measurements]:
        return benchmark_training_memory(CASES, args.rounds, device)

    run_benchmark(args, measure)
