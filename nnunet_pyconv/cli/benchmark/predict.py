"""`nnunet_pyconv benchmark predict`."""

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
        "Time nnU-Net's predictor on a slice, with sliding window and mirroring and without preprocessing, for the "
        "stock network and that of nnUNetTrainerPyConv. About two minutes on two cores."
    )
    add_common_arguments(parser, rounds=3)
    parser.add_argument(
        "--sizes",
        nargs="+",
        type=positive,
        default=[256, 512],
        metavar="PIXELS",
        help="edges of the patches (default: 256 512)",
    )
    parser.add_argument(
        "--image", type=positive, default=512, metavar="PIXELS", help="edge of the slice (default: %(default)s)"
    )


def run(args: argparse.Namespace) -> None:
    """Measure, print and write."""
    from nnunet_pyconv.benchmarks.predict import benchmark_predict

    def measure(device: torch.device) -> list[Measurements]:
        return benchmark_predict(args.sizes, args.image, args.rounds, device)

    run_benchmark(args, measure)
