"""`nnunet_pyconv benchmark volumes`."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from nnunet_pyconv.cli.benchmark.common import add_common_arguments, run_benchmark
from nnunet_pyconv.cli.parser import positive

if TYPE_CHECKING:
    import torch

    from nnunet_pyconv.benchmarks.report import Measurements

CONFIGURATIONS = ("2d", "3d_fullres")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the subject's arguments."""
    parser.description = (
        "Train nnUNetTrainer and nnUNetTrainerPyConv through nnU-Net's commands, on its own plans with plain and "
        "residual encoders and on small volumes that are made for it; then measure a training step of both in turn and "
        "its peak memory. All is written to a temporary folder. Less than ten minutes on two cores."
    )
    add_common_arguments(parser, rounds=9)
    parser.add_argument(
        "-c",
        dest="configurations",
        nargs="+",
        choices=CONFIGURATIONS,
        default=list(CONFIGURATIONS),
        help=f"default: {' '.join(CONFIGURATIONS)}",
    )
    parser.add_argument("--epochs", type=positive, default=10, metavar="N", help="of a training (default: %(default)s)")
    parser.add_argument(
        "--iterations", type=positive, default=20, metavar="N", help="of an epoch (default: %(default)s)"
    )


def run(args: argparse.Namespace) -> None:
    """Measure, print and write."""
    from nnunet_pyconv.benchmarks.volumes import benchmark_volumes

    def measure(device: torch.device) -> list[Measurements]:
        return benchmark_volumes(args.configurations, args.epochs, args.iterations, args.rounds, device)

    run_benchmark(args, measure)
