"""`nnunet_pyconv convert DATASET`: to nnU-Net's raw format; `folder` has a module of its own."""

from __future__ import annotations

import argparse
import inspect
from functools import partial
from pathlib import Path

from nnunet_pyconv.cli.parser import add_arguments_of_module
from nnunet_pyconv.dataset_conversion.registry import CONVERTERS, load_converter
from nnunet_pyconv.names import PROTOCOLS


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add a parser for a user's own folders and one for each dataset that has a converter."""
    parser.description = "Convert a dataset to nnU-Net's raw format, below nnUNet_raw."
    parser.epilog = "nnunet_pyconv convert DATASET -h tells more."
    datasets = parser.add_subparsers(title="datasets", dest="dataset", metavar="DATASET", required=True)
    datasets.add_parser(
        "folder",
        help="your own images and label images, or volumes",
        prepare=partial(add_arguments_of_module, f"{__name__}.folder"),
    )
    for name, summary in CONVERTERS.items():
        datasets.add_parser(name, help=summary, prepare=partial(_add_converter_arguments, name))


def _add_converter_arguments(name: str, parser: argparse.ArgumentParser) -> None:
    from nnunet_pyconv.cli.convert.common import add_common_arguments

    converter = load_converter(name)
    parser.set_defaults(run=_run_converter)
    description = converter.DESCRIPTION
    parser.description = inspect.getdoc(converter)
    add = parser.add_argument
    add("-i", dest="source", type=Path, required=True, metavar="SRC", help="folder of the downloaded data")
    add(
        "-d",
        dest="dataset_id",
        type=int,
        default=description.dataset_id,
        metavar="ID",
        help="dataset ID (default: %(default)s)",
    )
    add(
        "--protocol",
        choices=PROTOCOLS,
        default="clean",
        help="clean: the test cases test only; paper: they also validate fold 0, by splits_final.json "
        "(default: %(default)s)",
    )
    if description.complement is not None:
        add(
            "--foreground",
            choices=description.foregrounds,
            default=description.foreground,
            help="which class is label 1 (default: %(default)s, as in the paper)",
        )
    add_common_arguments(parser)


def _run_converter(args: argparse.Namespace) -> None:
    """Convert the dataset and say how to go on."""
    from nnunet_pyconv.cli.convert.common import say_what_next
    from nnunet_pyconv.dataset_conversion.conversion import convert  # imports nnU-Net, which takes seconds

    target = convert(
        load_converter(args.dataset),
        args.source,
        dataset_id=args.dataset_id,
        foreground=getattr(args, "foreground", None),
        protocol=args.protocol,
        num_processes=args.num_processes,
        overwrite=args.overwrite,
    )
    say_what_next(target)
