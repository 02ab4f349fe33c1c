"""The error for what a user gave, and how a command ends."""

from __future__ import annotations

import signal
import sys
from collections.abc import Callable


class InputError(ValueError):
    """Something the user gave can't be used.

    The message says what was given, what was expected and how to mend it.
    """


def run_command(command: Callable[[], None]) -> None:
    """Run a command of the command line and end the process as a command should.

    Bad input prints one message and exits with 2, an interrupt with 130. A terminated command, or one whose terminal
    was closed, cleans up after itself just as an interrupted one.
    """
    for name in ("SIGTERM", "SIGHUP"):
        if hasattr(signal, name):  # Windows has no SIGHUP
            signal.signal(getattr(signal, name), lambda number, _: sys.exit(128 + number))
    try:
        command()
    except InputError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(2)
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        sys.exit(130)
