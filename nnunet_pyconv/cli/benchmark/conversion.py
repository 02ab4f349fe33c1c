"""`nnunet_pyconv benchmark conversion`."""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from nnunetv2.configuration import default_num_processes

from nnunet_pyconv.cli.benchmark.common import add_common_arguments, run_on_cpu
from nnunet_pyconv.cli.parser import positive
from nnunet_pyconv.errors import InputError

if TYPE_CHECKING:
    from nnunet_pyconv.benchmarks.report import Measurements


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the subject's arguments."""
    parser.description = "Time the converters on made slices, and reading and writing the same files alone."
    add_common_arguments(parser, rounds=3)
    parser.add_argument("--images", type=positive, default=1000, metavar="N", help="with labels (default: %(default)s)")
    parser.add_argument(
        "-np",
        dest="num_processes",
        type=positive,
        default=default_num_processes,
        metavar="N",
        help="images at a time (default: %(default)s)",
    )
    parser.add_argument("--disk", type=Path, metavar="DIR", help="where the files go (default: the temporary folder)")


def run(args: argparse.Namespace) -> None:
    """Measure, print and write."""
    from nnunet_pyconv.benchmarks.conversion import benchmark_conversion

    if args.images < 100:
        raise InputError(f"--images {args.images}: expected at least 100, a tenth of which is converted first")
    if args.disk is not None and not args.disk.is_dir():
        raise InputError(f"--disk {args.disk}: no such folder; make it, or give another")

    def measure() -> list[Measurements]:
        with tempfile.TemporaryDirectory(dir=args.disk) as folder:
            return benchmark_conversion(args.images, args.rounds, args.num_processes, Path(folder))

    run_on_cpu(args, measure)
