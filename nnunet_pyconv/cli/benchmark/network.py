"""`nnunet_pyconv benchmark network`."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from nnunet_pyconv.cli.benchmark.common import add_common_arguments, add_patch_sizes, run_benchmark
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
    add_patch_sizes(parser)
    parser.add_argument("--batch", type=positive, default=2, metavar="N", help="patches a step (default: %(default)s)")
    parser.add_argument("--more", action="store_true", help="the 3D network on a cube of 64 pixels (GPU: 128) instead")


def run(args: argparse.Namespace) -> None:
    """Measure, print and write."""
    from nnunet_pyconv.benchmarks.network import benchmark_network

    def measure(device: torch.device) -> list[Measurements]:
        cube = 128 if device.type == "cuda" else 64
        patch_sizes = [(cube,) * 3] if args.more else [(edge, edge) for edge in args.sizes]
        return benchmark_network(patch_sizes, args.batch, args.rounds, device)

    run_benchmark(args, measure)
