"""Functions in a fork of this process, to be killed or to run beside it."""

from __future__ import annotations

import contextlib
import os
import sys
import traceback
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any


def in_fork(run: Callable[[], Any], log: Path | None = None) -> int:
    """Start a function in a fork of this process, with its output in a file if one is given; returns the process id.

    The fork ends with the function, however that ends: it would go on with pytest's tests.
    """
    if log is not None:
        log.write_text("")
    if (child := os.fork()) != 0:
        return child
    code = 1
    try:
        if log is not None:
            with log.open("w") as file:
                os.dup2(file.fileno(), 1)
                os.dup2(file.fileno(), 2)
            sys.stdout, sys.stderr = os.fdopen(1, "w"), os.fdopen(2, "w")
        warnings.simplefilter("default")  # pytest's settings make some of them errors
        run()
        code = 0
    except SystemExit as ended:
        code = ended.code if isinstance(ended.code, int) else 1
    except BaseException:
        traceback.print_exc()
    finally:
        with contextlib.suppress(BaseException):
            sys.stdout.flush()
            sys.stderr.flush()
        os._exit(code)


def status_of(child: int) -> int:
    """Wait for the end of a process; negative for a signal."""
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
