"""What all conversions have in common: arguments, and what to do next."""

from __future__ import annotations

import argparse
from pathlib import Path

from nnunetv2.configuration import default_num_processes

from nnunet_pyconv.cli.parser import positive


def add_common_arguments(parser: argparse.ArgumentParser) -> None:
    """Add `-np` and `--overwrite`."""
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument(
        "-np",
        dest="num_processes",
        type=positive,
        default=default_num_processes,
        metavar="N",
        help="cases at a time (default: %(default)s)",
    )
    parser.add_argument("--overwrite", action="store_true", help="replace the dataset folder if it exists")


def say_what_next(target: Path) -> None:
    """Print where the dataset was written and how to go on."""
    from nnunet_pyconv.dataset_conversion.dataset_content import holds_volumes, preprocessed_before
    from nnunet_pyconv.dataset_conversion.write import PREVIEW
    from nnunet_pyconv.nnunet_folders import dataset_id

    print(f"Wrote {target}")
    print(f"Look at {target / PREVIEW}: do the outlines lie where they should?")
    if (earlier := preprocessed_before(target)) is not None:
        print(f"{earlier} was made from an earlier dataset of this name: remove it before you go on")
    configuration = "" if holds_volumes(target) else "-c 2d "
    print(f"Next: nnUNetv2_plan_and_preprocess -d {dataset_id(target.name)} {configuration}--verify_dataset_integrity")
