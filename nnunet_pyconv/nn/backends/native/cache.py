"""The compiled libraries in the user's folder: which of them may be loaded.

To load a library is to execute it. So nothing is loaded but from a folder and a file that this user owns and that
nobody else may write to. A library's name ends in the hash of its content, so that a damaged one is not loaded either.
"""

from __future__ import annotations

import contextlib
import hashlib
import stat
from collections.abc import Iterator
from pathlib import Path

import filelock

from nnunet_pyconv.nn.backends.native.compiler import COMPILE_SECONDS
from nnunet_pyconv.nn.backends.user_cache import is_private


def find(folder: Path, name: str) -> Path | None:
    """Return a whole library of such a name that may be loaded, or None.

    Args:
        folder: Where it would be.
        name: As `store` got it; may contain wildcards.
    """
    for path in sorted(folder.glob(f"{name}-*.so")):
        with contextlib.suppress(OSError):
            if is_private(path, stat.S_ISREG) and path.stem.rpartition("-")[2] == _content_hash(path):
                return path
    return None


def store(binary: Path, folder: Path, name: str) -> Path:
    """Move a library into a folder of the same disk, at once and under its name; return its new place."""
    binary.chmod(0o700)
    target = folder / f"{name}-{_content_hash(binary)}.so"
    return binary.replace(target)


@contextlib.contextmanager
def one_at_a_time(folder: Path) -> Iterator[None]:
    """Let one process compile while others wait for its result; without locks, several compile the same."""
    lock = filelock.FileLock(folder / "compiling.lock", timeout=COMPILE_SECONDS, mode=0o600)
    with contextlib.ExitStack() as stack:
        with contextlib.suppress(OSError, NotImplementedError):  # a disk without locks, or a time limit that is over
            stack.enter_context(lock)
        yield


def _content_hash(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()[:32]
