"""`nnunet_pyconv benchmark levels`."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from nnunet_pyconv.cli.benchmark.common import add_common_arguments, run_on_cpu
from nnunet_pyconv.cli.parser import positive
from nnunet_pyconv.errors import InputError

if TYPE_CHECKING:
    from nnunet_pyconv.benchmarks.report import Measurements


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the subject's arguments."""
    parser.description = (
        "Time single levels in the compiled kernel, or in each block of the fold, against the library's grouped "
        "convolution on a CPU: what the cost rules are fitted to. For work on the backends."
    )
    add_common_arguments(parser, rounds=9)
    parser.add_argument("--fold", action="store_true", help="the fold's blocks instead of the kernel")
    parser.add_argument("--sizes", nargs="+", type=positive, metavar="PIXELS", help="only the maps with these edges")


def run(args: argparse.Namespace) -> None:
    """Measure, print and write."""
    from nnunet_pyconv.benchmarks.levels import FOLDS, SHAPES, benchmark_levels
    from nnunet_pyconv.nn.backends import available_backends

    def measure() -> list[Measurements]:
        if not args.fold and (reason := available_backends()["native"]):
            raise InputError(f"the compiled kernel can't run here ({reason}); give --fold")
        shapes = [shape for shape in SHAPES if not args.sizes or shape[2] in args.sizes]
        return benchmark_levels(shapes, list(FOLDS) if args.fold else ["kernel"], args.rounds)

    run_on_cpu(args, measure)
