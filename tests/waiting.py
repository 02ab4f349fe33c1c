"""Waiting for what other processes do."""

from __future__ import annotations

import time
from collections.abc import Callable


def wait_until(happened: Callable[[], object], timeout_s: float = 300) -> None:
    """Wait until a function returns something true, and fail when it takes too long."""
    deadline = time.monotonic() + timeout_s
    while not happened():
        assert time.monotonic() < deadline, f"did not happen within {timeout_s:.0f} s"
        time.sleep(0.05)
