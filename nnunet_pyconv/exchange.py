"""Swapping two files or folders in one step, so that at no moment one of them is missing."""

from __future__ import annotations

import ctypes
import errno
import os
import sys
from pathlib import Path

# Linux's renameat2(2): paths are relative to the current folder, and both names stay in use
_AT_FDCWD = -100
_RENAME_EXCHANGE = 2
_NOT_SUPPORTED = (errno.ENOSYS, errno.EINVAL, errno.ENOTSUP)  # by this kernel, or by this file system, as NFS


def exchange(first: Path, second: Path) -> bool:
    """Swap two paths of one file system; both exist.

    Returns:
        Whether that was done; False, and nothing done, where the system has no such call.

    Raises:
        OSError: Any other fault, for example no right to write.
    """
    renameat2 = getattr(ctypes.CDLL(None, use_errno=True), "renameat2", None) if sys.platform == "linux" else None
    if renameat2 is None:
        return False
    if renameat2(_AT_FDCWD, os.fsencode(first), _AT_FDCWD, os.fsencode(second), _RENAME_EXCHANGE) == 0:
        return True
    number = ctypes.get_errno()
    if number in _NOT_SUPPORTED:
        return False
    raise OSError(number, os.strerror(number), str(first), None, str(second))
