"""The user's folder of compiled libraries: where it is, and which files in it may be loaded.

To load a library is to execute it. So nothing is loaded but from a folder and a file that this user owns and that
nobody else may write to. A library's name ends in the hash of its content, so that a damaged one is not loaded either.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import stat
from collections.abc import Callable, Iterator
from pathlib import Path

import filelock
import platformdirs

from nnunet_pyconv.nn.backends.native.compiler import COMPILE_SECONDS

VARIABLE = "NNUNET_PYCONV_CACHE"


class CacheError(OSError):
    """The folder can't be used; the message says why and how to fix it."""


def open_cache() -> Path:
    """Return the folder, made if missing: `kernels` in `$NNUNET_PYCONV_CACHE` or in this package's user cache.

    Raises:
        CacheError: There is no home folder, it can't be made, or others may write to it.
    """
    given = os.environ.get(VARIABLE)
    base = Path(given).absolute() if given else _user_cache()
    folder = base / "kernels"
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise CacheError(f"{folder} can't be made ({error}); set {VARIABLE} to a folder that can be written") from error
    if not _is_private(folder, stat.S_ISDIR):
        raise CacheError(
            f"{folder} belongs to another user, or others may write to it; remove it, or set {VARIABLE} to a folder of "
            "this user"
        )
    if not os.access(folder, os.W_OK):
        raise CacheError(f"{folder} can't be written; set {VARIABLE} to a folder that can")
    return folder


def find(folder: Path, name: str) -> Path | None:
    """Return a whole library of such a name that may be loaded, or None.

    Args:
        folder: Where it would be.
        name: As `store` got it; may contain wildcards.
    """
    for path in sorted(folder.glob(f"{name}-*.so")):
        with contextlib.suppress(OSError):
            if _is_private(path, stat.S_ISREG) and path.stem.rpartition("-")[2] == _content_hash(path):
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


def _user_cache() -> Path:
    try:
        folder = Path(platformdirs.user_cache_dir("nnunet_pyconv", appauthor=False))
    except RuntimeError:  # newer platformdirs; older ones leave a "~"
        folder = Path("~")
    if not folder.is_absolute():
        raise CacheError(f"this user has no home folder; set {VARIABLE} to a folder of this user")
    return folder


def _is_private(path: Path, kind: Callable[[int], bool]) -> bool:
    """Tell whether a path is of a kind, belongs to this user, and can be written by nobody else."""
    status = path.lstat()
    return kind(status.st_mode) and status.st_uid == os.geteuid() and not status.st_mode & (stat.S_IWGRP | stat.S_IWOTH)


def _content_hash(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()[:32]
