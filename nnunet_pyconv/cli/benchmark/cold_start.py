"""`nnunet_pyconv benchmark cold_start`."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from nnunet_pyconv.cli.benchmark.common import add_common_arguments, add_model_folders, run_on_cpu

if TYPE_CHECKING:
    from nnunet_pyconv.benchmarks.report import Measurements


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the subject's arguments."""
    parser.description = (
        "Time predictions from the shell to the written labels, in turn by nnUNetv2_predict and by the file that "
        "`nnunet_pyconv export` makes of the model, each in a process of its own. Most of nnU-Net's time goes into "
        "imports where there are few images."
    )
    add_common_arguments(parser, rounds=3)
    add = parser.add_argument
    add_model_folders(parser)
    add("-i", dest="images", type=Path, required=True, metavar="IMAGES", help="folder with the images, for example one")
    add("--disable_tta", action="store_true", help="no mirroring, as nnU-Net's option")


def run(args: argparse.Namespace) -> None:
    """Measure, print and write."""
    from nnunet_pyconv.extras import ONNX_MODULES, require_extra

    require_extra("onnx", *ONNX_MODULES)
    from nnunet_pyconv.benchmarks.cold_start import benchmark_cold_start

    def measure() -> list[Measurements]:
        return benchmark_cold_start(args.models, args.images, not args.disable_tta, args.rounds)

    run_on_cpu(args, measure)
