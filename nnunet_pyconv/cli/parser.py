"""Parsers of commands that import the command's module only once it is chosen, so that `--help` is quick."""

from __future__ import annotations

import argparse
import importlib
from collections.abc import Mapping
from typing import Any


class CommandParser(argparse.ArgumentParser):
    """The parser of a command.

    A command is a module with `add_arguments(parser)` and `run(args)`, or with `add_arguments` alone where it has
    commands of its own. Such modules import what is heavy within `run`.
    """

    def __init__(self, *args: Any, module: str | None = None, **kwargs: Any) -> None:
        """Take what argparse takes.

        Args:
            *args: As in argparse.
            module: Full name of the command's module.
            **kwargs: As in argparse.
        """
        super().__init__(*args, **kwargs)
        self._module = module

    def parse_known_args(self, args: Any = None, namespace: Any = None) -> Any:
        """Add the command's arguments, then parse."""
        if self._module is not None:
            command = importlib.import_module(self._module)
            self._module = None
            command.add_arguments(self)
            if hasattr(command, "run"):
                self.set_defaults(run=command.run)
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
        subparsers.add_parser(name, help=text, module=f"{package}.{name}")


def positive(text: str) -> int:
    """Read a positive whole number, for `type=` of an argument."""
    if not (text.isdigit() and int(text)):
        raise argparse.ArgumentTypeError(f"{text!r} is not a positive number")
    return int(text)
