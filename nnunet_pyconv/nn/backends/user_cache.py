"""The user's folder for what the backends keep between processes: compiled libraries, and choices on GPUs.

Nothing is read but from a folder and a file that this user owns and that nobody else may write to.
"""

from __future__ import annotations

import os
import stat
import sys
from collections.abc import Callable
from pathlib import Path

from nnunet_pyconv.cache_folder import VARIABLE, cache_folder


class CacheError(OSError):
    """The folder can't be used; the message says why and how to fix it."""


def open_cache(name: str) -> Path:
    """Return a folder, made if missing, in `$NNUNET_PYCONV_CACHE` or in this package's user cache.

    Args:
        name: Of the folder in there.

    Raises:
        CacheError: There is no home folder, it can't be made, or others may write to it; always on Windows, where
            files have no such owner.
    """
    if sys.platform == "win32":
        raise CacheError("the cache of PyConv's backends needs Linux or macOS")
    base = cache_folder()
    if base is None:
        raise CacheError(f"this user has no home folder; set {VARIABLE} to a folder of this user")
    folder = base / name
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise CacheError(f"{folder} can't be made ({error}); set {VARIABLE} to a folder that can be written") from error
    if not is_private(folder, stat.S_ISDIR):
        raise CacheError(
            f"{folder} belongs to another user, or others may write to it; remove it, or set {VARIABLE} to a folder of "
            "this user"
        )
    if not os.access(folder, os.W_OK):
        raise CacheError(f"{folder} can't be written; set {VARIABLE} to a folder that can")
    return folder


def is_private(path: Path, kind: Callable[[int], bool]) -> bool:
    """Tell whether a path is of a kind, belongs to this user, and can be written by nobody else."""
    status = path.lstat()
    return kind(status.st_mode) and status.st_uid == os.geteuid() and not status.st_mode & (stat.S_IWGRP | stat.S_IWOTH)
