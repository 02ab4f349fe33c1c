"""`nnunet_pyconv predict`: predict with a model file, of which nothing is executed."""

from __future__ import annotations

import argparse
from pathlib import Path

from nnunet_pyconv.runtime import command


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's arguments."""
    parser.description = (
        "Predict with a file that nnunet_pyconv export wrote. The file is read as data: no code of it is executed. "
        "Neither torch nor nnU-Net is used."
    )
    parser.epilog = "example: nnunet_pyconv predict -m model.pyz -i IMAGES -o PREDICTIONS"
    parser.add_argument("-m", dest="model", type=Path, required=True, metavar="FILE", help="the model file")
    command.add_arguments(parser)


def run(args: argparse.Namespace) -> None:
    """Predict the folder."""
    from nnunet_pyconv.runtime.model_file import ModelFile
    from nnunet_pyconv.terminations import terminations_raised

    with terminations_raised():
        command.run(args, ModelFile.open(args.model))
