"""The command line: `nnunet_pyconv COMMAND ...`, one module a command."""

from __future__ import annotations

import argparse
import importlib
from collections.abc import Sequence

from nnunet_pyconv import __version__
from nnunet_pyconv.errors import run_command

COMMANDS = {
    "demo": "run the whole chain once, from images to a scored segmentation",
    "convert": "convert a dataset to nnU-Net's raw format",
    "reproduce": "run the paper's experiment: datasets x networks",
    "plan": "write plans whose network has pyramidal convolutions",
    "report": "write tables and figures of what was trained and predicted",
    "share": "write a trained model to a file, with hashes and a model card",
    "install": "check a shared model and install it into nnUNet_results",
    "complexity": "count and measure what the networks cost",
    "trainer_dir": "print the folder for nnUNet_extTrainer",
    "doctor": "check that a training could start",
    "benchmark": "measure on this machine how fast the layer and the networks are",
}


def main(argv: Sequence[str] | None = None) -> None:
    """Run a command; the exit status is 2 for bad input, 1 for a failed check and 130 for an interrupt."""
    commands = "\n".join(f"  {name:<12} {text}" for name, text in COMMANDS.items())
    parser = argparse.ArgumentParser(
        prog="nnunet_pyconv",
        description="Pyramidal convolutions (PyConv) for a stock nnU-Net v2.",
        epilog=f"commands:\n{commands}\n\nnnunet_pyconv COMMAND -h tells more. Start with: nnunet_pyconv demo",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"nnunet-pyconv {__version__}")
    parser.add_argument("command", choices=COMMANDS, metavar="COMMAND", help="one of the commands below")
    parser.add_argument("arguments", nargs=argparse.REMAINDER, metavar="...", help="its arguments")
    args = parser.parse_args(argv)

    command = importlib.import_module(f"nnunet_pyconv.cli.{args.command}")
    run_command(lambda: command.main(args.arguments, prog=f"nnunet_pyconv {args.command}"))
