"""Parsers of commands that import the command's module only once it is chosen, so that `--help` is quick."""

from __future__ import annotations

import argparse
import importlib
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

from nnunet_pyconv.names import FINAL_CHECKPOINT


class CommandParser(argparse.ArgumentParser):
    """The parser of a command.

    A command is a module with `add_arguments(parser)` and `run(args)`, or with `add_arguments` alone where it has
    commands of its own. Such modules import what is heavy within `run`.
    """

    def __init__(
        self, *args: Any, prepare: Callable[[argparse.ArgumentParser], None] | None = None, **kwargs: Any
    ) -> None:
        """Take what argparse takes.

        Args:
            *args: As in argparse.
            prepare: Adds the command's arguments, once it is chosen.
            **kwargs: As in argparse.
        """
        super().__init__(*args, **kwargs)
        self._prepare = prepare

    def parse_known_args(self, args: Any = None, namespace: Any = None) -> Any:
        """Add the command's arguments, then parse."""
        if self._prepare is not None:
            prepare, self._prepare = self._prepare, None
            prepare(self)
        return super().parse_known_args(args, namespace)


def add_commands(parser: argparse.ArgumentParser, title: str, commands: Mapping[str, str], package: str) -> None:
    """Add subparsers to a parser.

    Args:
        parser: A `CommandParser`.
        title: What the commands are, in the plural, for example `datasets`.
        commands: Name of each command and its help text.
        package: Where the modules lie that have these names.
    """
    singular = title.removesuffix("s")
    subparsers = parser.add_subparsers(title=title, dest=singular, metavar=singular.upper(), required=True)
    for name, text in commands.items():
        subparsers.add_parser(name, help=text, prepare=partial(add_arguments_of_module, f"{package}.{name}"))


def add_arguments_of_module(module: str, parser: argparse.ArgumentParser) -> None:
    """Import a command's module and let it add its arguments, and `run` where it has one."""
    command = importlib.import_module(module)
    command.add_arguments(parser)
    if hasattr(command, "run"):
        parser.set_defaults(run=command.run)


def positive(text: str) -> int:
    """Read a positive whole number, for `type=` of an argument."""
    if not (text.isdigit() and int(text)):
        raise argparse.ArgumentTypeError(f"{text!r} is not a positive number")
    return int(text)


def add_model(parser: argparse.ArgumentParser, purpose: str) -> None:
    """Add a trained model's folder, -f and -chk.

    Args:
        parser: Of the command.
        purpose: What the command does with the model, for example `share`.
    """
    parser.add_argument(
        "folder", type=Path, metavar="MODEL_FOLDER", help="nnUNet_results/DATASET/TRAINER__PLANS__CONFIGURATION"
    )
    parser.add_argument(
        "-f",
        dest="folds",
        nargs="+",
        metavar="FOLD",
        help="0 to 4, or all (default: the numbered ones with a checkpoint, or all where there is no other)",
    )
    parser.add_argument(
        "-chk",
        dest="checkpoint",
        default=FINAL_CHECKPOINT,
        metavar="NAME",
        help=f"checkpoint to {purpose} (default: %(default)s)",
    )


def add_trust(parser: argparse.ArgumentParser, purpose: str) -> None:
    """Add --trust, for a command that reads checkpoints.

    Args:
        parser: Of the command.
        purpose: What the command does with them, for example `load`.
    """
    parser.add_argument(
        "--trust",
        action="store_true",
        help=f"{purpose} checkpoints that hold more than nnU-Net's do; this runs the code in them, so use it for your "
        "own only",
    )
