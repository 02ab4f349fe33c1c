"""The arguments that every benchmark has."""

from __future__ import annotations

import argparse
import shlex
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from nnunet_pyconv.cli.parser import positive
from nnunet_pyconv.errors import InputError

if TYPE_CHECKING:  # torch takes seconds to import
    import torch

    from nnunet_pyconv.benchmarks.report import Measurements


def add_common_arguments(parser: argparse.ArgumentParser, rounds: int) -> None:
    """Add -device, -o, --rounds and --overwrite.

    Args:
        parser: Of the subject.
        rounds: The default of --rounds.
    """
    parser.add_argument("-device", choices=("cpu", "cuda"), help="where to measure (default: cuda if torch sees it)")
    parser.add_argument(
        "-o", dest="folder", type=Path, metavar="DIR", help="also write SUBJECT.md and SUBJECT.json into DIR"
    )
    parser.add_argument(
        "--rounds", type=positive, default=rounds, help="counted calls of each function (default: %(default)s)"
    )
    parser.add_argument("--overwrite", action="store_true", help="replace earlier tables in DIR")


def add_model_folders(parser: argparse.ArgumentParser) -> None:
    """Add the models to measure."""
    parser.add_argument(
        "models",
        nargs="+",
        type=Path,
        metavar="MODEL_FOLDER",
        help="nnUNet_results/DATASET/TRAINER__PLANS__CONFIGURATION",
    )


def run_benchmark(
    args: argparse.Namespace,
    measure: Callable[[torch.device], list[Measurements]],
    picture: Callable[[list[Measurements], Path], None] | None = None,
) -> None:
    """Measure, print the tables and, with -o, write them.

    Args:
        args: With the arguments of `add_common_arguments`.
        measure: Returns the tables; it gets the device.
        picture: Draws the tables into a file.
    """
    from nnunet_pyconv.benchmarks.report import run

    run(
        args.subject,
        shlex.join(args.argv),
        measure,
        picture,
        device_name=args.device,
        folder=args.folder,
        overwrite=args.overwrite,
    )


def run_on_cpu(args: argparse.Namespace, measure: Callable[[], list[Measurements]]) -> None:
    """Do the same for a subject that is measured on a CPU alone.

    Args:
        args: With the arguments of `add_common_arguments`.
        measure: Returns the tables.
    """

    def checked(device: torch.device) -> list[Measurements]:
        if device.type != "cpu":
            raise InputError(f"{args.subject} is measured on a CPU, not on {device}; give -device cpu")
        return measure()

    run_benchmark(args, checked)
