"""Locks against a second process that writes the same; a process that dies, however it dies, lets go of its locks."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from filelock import FileLock, Timeout

from nnunet_pyconv.errors import InputError


@contextmanager
def locked(file: Path, refusal: str) -> Iterator[None]:
    """Hold a lock for the block; the lock's file is removed afterwards.

    Args:
        file: The lock's file, in a folder that exists.
        refusal: What to say where another process, or another block of this one, holds the lock.

    Raises:
        InputError: The lock is held, or its file can't be written.
    """
    lock = FileLock(file, timeout=0)
    try:
        lock.acquire()
        if not file.exists():  # its last holder removed it after we had opened it: whoever makes a new one has the lock
            lock.release()
            raise InputError(refusal)
    except Timeout as error:
        raise InputError(refusal) from error
    except (OSError, NotImplementedError) as error:  # no room, not ours, or a file system without locks
        raise InputError(f"can't lock {file.parent}: {error}; make it writable, or choose another place") from error
    try:
        yield
    finally:
        with suppress(OSError):
            file.unlink()  # while we hold it
        lock.release()


def is_locked(file: Path) -> bool:
    """Whether a process holds a lock."""
    if not file.exists():
        return False
    try:
        with locked(file, "held"):
            return False
    except InputError:
        return True
