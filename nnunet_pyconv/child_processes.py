"""Child processes that end when the process that started them is gone, however it went.

Workers wait for work or for room in a queue. Where their parent was killed neither ever comes, and they stay.
"""

from __future__ import annotations

import ctypes
import functools
import multiprocessing
import os
import signal
import sys
import threading
from collections.abc import Callable

_PR_SET_PDEATHSIG = 1  # linux/prctl.h


def end_with_parent() -> None:
    """Let this worker end when its parent does; the initializer of every pool of ours."""
    parent = multiprocessing.parent_process()
    if parent is None:
        raise RuntimeError("end_with_parent is for processes that multiprocessing started")

    def wait() -> None:
        parent.join()
        os._exit(1)  # without a word: the parent is gone

    threading.Thread(target=wait, name="end_with_parent", daemon=True).start()


@functools.cache  # once in a process is enough, and hooks can't be taken back
def end_forks_with_this_process() -> None:
    """Let processes that this one forks from now on be killed with it; for workers that others start.

    nnU-Net's augmentation, for one, forks its workers itself. Linux alone can do this, by a signal at the parent's
    death; elsewhere nothing happens. The kernel takes the forking *thread* for the parent, so what another thread than
    the main one forks is left alone.
    """
    if sys.platform != "linux":
        return
    _libc()  # before the first fork
    parent = 0

    def before() -> None:
        nonlocal parent
        parent = os.getpid() if threading.current_thread() is threading.main_thread() else 0

    def in_child() -> None:
        if parent:
            _killed_at_death_of(parent)

    os.register_at_fork(before=before, after_in_child=in_child)


def end_command_with_this_thread() -> Callable[[], None] | None:
    """Return what `subprocess.Popen` takes as `preexec_fn` so that the command is killed with the thread that calls it.

    None where the system can't; see `end_forks_with_this_process`.
    """
    if sys.platform != "linux":
        return None
    _libc()  # loads nothing between fork and exec
    return functools.partial(_killed_at_death_of, os.getpid())


def _killed_at_death_of(parent: int) -> None:
    _libc().prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:  # it died before the kernel knew
        os._exit(1)


@functools.cache
def _libc() -> ctypes.CDLL:
    return ctypes.CDLL(None, use_errno=True)
