"""`nnunet_pyconv benchmark network`."""

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
        "Time nnU-Net's default network as nnUNetTrainer and nnUNetTrainerPyConv build it: a training step (forward, "
        "loss with deep supervision, backward, clipping, SGD), an inference, and the peak memory of a step. "
        "nnUNet_compile holds as in a training. About ten minutes on two cores."
    )
    add_common_arguments(parser, rounds=3)
    parser.add_argument(
        "--sizes",
        nargs="+",
        type=positive,
        metavar="PIXELS",
        help="edges of the patches (default: 256 512; with --more 64, on a GPU 128)",
    )
    parser.add_argument("--batch", type=positive, default=2, metavar="N", help="patches a step (default: %(default)s)")
    parser.add_argument("--more", action="store_true", help="the 3D network on cubes instead of the 2D one on squares")
    parser.add_argument(
        "--networks",
        nargs="+",
        metavar="NETWORK",
        help="rows of the table to measure beside the stock network, for example 'PyConv dilated' (default: all)",
    )


def run(args: argparse.Namespace) -> None:
    """Measure, print and write."""
    from nnunet_pyconv.benchmarks.network import benchmark_network, chosen

    everywhere, first = chosen(args.networks)

    def measure(device: torch.device) -> list[Measurements]:
        default = [256, 512] if not args.more else [128] if device.type == "cuda" else [64]
        patch_sizes = [(edge,) * (3 if args.more else 2) for edge in args.sizes or default]
        return benchmark_network(patch_sizes, args.batch, args.rounds, device, everywhere, first)

    run_benchmark(args, measure)
