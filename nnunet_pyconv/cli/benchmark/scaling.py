"""`nnunet_pyconv benchmark scaling`."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from nnunet_pyconv.cli.benchmark.common import add_common_arguments, run_benchmark
from nnunet_pyconv.cli.parser import positive

if TYPE_CHECKING:
    import torch

    from nnunet_pyconv.benchmarks.report import Measurements


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the subject's arguments."""
    parser.description = (
        "Time a PyConv layer, in the chosen backend and level by level, and the dense convolution against pixels, "
        "channels, batch and threads. With -o also draws them. About two minutes on two cores."
    )
    add_common_arguments(parser, rounds=3)
    parser.add_argument(
        "--largest",
        type=positive,
        default=1024,
        metavar="PIXELS",
        help="edge of the largest map (default: %(default)s)",
    )


def run(args: argparse.Namespace) -> None:
    """Measure, print, write and draw."""
    import torch

    from nnunet_pyconv.benchmarks.scaling import benchmark_scaling, draw, sweeps

    def measure(device: torch.device) -> list[Measurements]:
        threads = torch.get_num_threads() if device.type == "cpu" else 0
        return benchmark_scaling(sweeps(args.largest, threads), args.rounds, device)

    run_benchmark(args, measure, draw)
