"""The command line: `nnunet_pyconv COMMAND ...`, one module a command."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from nnunet_pyconv import __version__
from nnunet_pyconv.cli.parser import CommandParser, add_commands
from nnunet_pyconv.errors import run_command

COMMANDS = {
    "demo": "run the whole chain once, from images to a scored segmentation",
    "convert": "convert a dataset to nnU-Net's raw format",
    "reproduce": "run the paper's experiment: datasets x networks",
    "plan": "write plans whose network has pyramidal convolutions",
    "report": "write tables and figures of trained models and predictions",
    "share": "write a trained model to a file, with hashes and a model card",
    "install": "check a shared model and install it into nnUNet_results",
    "export": "write a trained model as a file that predicts without torch",
    "predict": "predict with such a file",
    "complexity": "count and measure what the networks cost",
    "trainer_dir": "print the folder for nnUNet_extTrainer",
    "doctor": "check that a training could start",
    "benchmark": "measure on this machine how fast the layer and the networks are",
}


def main(argv: Sequence[str] | None = None) -> None:
    """Run a command; the exit status is 2 for bad input, 1 for a failed check and 130 for an interrupt."""
    args = parse(sys.argv[1:] if argv is None else argv)
    run_command(lambda: args.run(args))


def parse(argv: Sequence[str]) -> argparse.Namespace:
    """Parse the arguments of a command.

    Returns:
        What the command's module takes: `run` of that module, `argv` with the whole command, and its arguments.
    """
    parser = CommandParser(
        prog="nnunet_pyconv",
        description="Pyramidal convolutions (PyConv) for a stock nnU-Net v2.",
        epilog="nnunet_pyconv COMMAND -h tells more. Start with: nnunet_pyconv demo",
    )
    parser.add_argument("--version", action="version", version=f"nnunet-pyconv {__version__}")
    add_commands(parser, "commands", COMMANDS, __name__)
    return parser.parse_args(argv, argparse.Namespace(argv=[parser.prog, *argv]))
