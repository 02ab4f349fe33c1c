"""Pictures that commands wrote, for tests."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import skimage.io as io


def read_all(folder: Path) -> dict[str, np.ndarray]:
    """All pictures of a folder, by the names of their files."""
    return {path.name: io.imread(path) for path in sorted(folder.iterdir())}


def read_pngs(folder: Path) -> dict[str, np.ndarray]:
    """The PNGs of a folder that holds other files too."""
    pngs = folder.parent / f"{folder.name}_pngs"
    pngs.mkdir()
    for path in folder.glob("*.png"):
        shutil.copy(path, pngs)
    return read_all(pngs)
