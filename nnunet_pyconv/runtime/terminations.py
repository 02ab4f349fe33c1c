"""Terminations as exceptions, so that what was begun can be cleared away."""

from __future__ import annotations

import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def terminations_raised() -> Iterator[None]:
    """Turn a termination or a closed terminal into SystemExit.

    For the block alone: processes that nnU-Net forks would inherit the handlers, and could no longer be terminated
    while they wait for a lock. Whoever has chosen otherwise keeps it: nohup ignores the closed terminal, and the
    launcher of a cluster has handlers of its own.
    """
    before = {}
    if threading.current_thread() is threading.main_thread():  # the only one that may set handlers
        for name in ("SIGTERM", "SIGHUP"):
            number = getattr(signal, name, None)  # Windows has no SIGHUP
            if number is not None and signal.getsignal(number) == signal.SIG_DFL:
                before[number] = signal.signal(number, lambda number, _: sys.exit(128 + number))
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
