"""The user's folder for what this package keeps between processes."""

from __future__ import annotations

import os
from pathlib import Path

import platformdirs

VARIABLE = "NNUNET_PYCONV_CACHE"


def cache_folder() -> Path | None:
    """Return `$NNUNET_PYCONV_CACHE`, or this package's user cache; None where the user has no home folder."""
    if given := os.environ.get(VARIABLE):
        return Path(given).absolute()
    try:
        folder = Path(platformdirs.user_cache_dir("nnunet_pyconv", appauthor=False))
    except RuntimeError:  # newer platformdirs; older ones leave a "~"
        return None
    return folder if folder.is_absolute() else None
