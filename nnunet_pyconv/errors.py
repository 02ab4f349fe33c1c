"""The error for what a user gave, and how a command ends."""

from __future__ import annotations

import sys
from collections.abc import Callable


class InputError(ValueError):
    """Something the user gave can't be used.

    The message says what was given, what was expected and how to mend it.
    """


def run_command(command: Callable[[], None]) -> None:
    """Run a command of the command line and end the process as a command should.

    Bad input prints one message and exits with 2, an interrupt exits with 130.
    """
    try:
        command()
    except InputError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(2)
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        sys.exit(130)
