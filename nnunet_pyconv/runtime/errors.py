"""The error for what a user gave, and how a command ends."""

from __future__ import annotations

import errno
import sys
from collections.abc import Callable

_FULL_OR_CLOSED = (errno.ENOSPC, errno.EDQUOT, errno.EACCES, errno.EROFS)


class InputError(ValueError):
    """Something the user gave can't be used.

    The message says what was given, what was expected and how to fix it.
    """


def run_command(command: Callable[[], None]) -> None:
    """Run a command of the command line and end the process as a command should.

    Bad input and a disk that can't be written print one message and exit with 2, an interrupt exits with 130.
    """
    try:
        command()
    except InputError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(2)
    except OSError as error:
        if error.errno not in _FULL_OR_CLOSED:
            raise
        print(f"error: {error}; make room there or allow the access, or choose another place", file=sys.stderr)
        sys.exit(2)
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        sys.exit(130)
