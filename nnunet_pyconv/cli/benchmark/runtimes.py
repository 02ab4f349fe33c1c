"""`nnunet_pyconv benchmark runtimes`."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from nnunet_pyconv.cli.benchmark.common import add_common_arguments, run_on_cpu
from nnunet_pyconv.cli.parser import positive

if TYPE_CHECKING:
    from nnunet_pyconv.benchmarks.report import Measurements

DESIGNS = ("stock-w0.5", "plain", "plain-w0.5", "bottleneck", "dilated", "dilated-w0.5", "separable", "separable-w0.5")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the subject's arguments."""
    parser.description = (
        "Measure what nnU-Net's default network, and what becomes of it by each block and width, cost on the CPU: a "
        "training step and its peak memory, and an inference in PyTorch, ONNX Runtime and OpenVINO, as multiples of "
        "the stock network's in the same runtime."
    )
    add_common_arguments(parser, rounds=9)
    parser.add_argument(
        "--designs",
        nargs="+",
        default=list(DESIGNS),
        metavar="DESIGN",
        help=f"as for `benchmark designs` (default: {' '.join(DESIGNS)})",
    )
    parser.add_argument(
        "--patch",
        type=positive,
        nargs="+",
        default=[256, 256],
        metavar="PIXELS",
        help="two or three edges (default: 256 256)",
    )
    parser.add_argument("--threads", type=positive, default=1, metavar="N", help="default: 1")


def run(args: argparse.Namespace) -> None:
    """Measure, print and write."""
    from nnunet_pyconv.benchmarks.designs.design import parse_design
    from nnunet_pyconv.benchmarks.runtimes import benchmark_runtimes

    designs = [parse_design(name) for name in args.designs]

    def measure() -> list[Measurements]:
        return benchmark_runtimes(args.patch, designs, args.threads, args.rounds)

    run_on_cpu(args, measure)
