"""Synthetic electron microscopy: cells with dark membranes, in the files of ISBI 2012."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import tifffile
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter
from scipy.spatial import cKDTree

CELL_DIAMETER_PX = 30
MEMBRANE_PX = 4


def write_synthetic_isbi(
    folder: Path, *, labelled: int = 15, unlabelled: int = 3, size_px: int = 160, seed: int = 2012
) -> None:
    """Write train-volume.tif, train-labels.tif and test-volume.tif as ISBI 2012 has them.

    Args:
        folder: Where to; created if missing.
        labelled: Pages of train-volume.tif and train-labels.tif.
        unlabelled: Pages of test-volume.tif.
        size_px: Edge of a page.
        seed: The same seed gives the same files.
    """
    rng = np.random.default_rng(seed)
    pages = [_slice(rng, size_px) for _ in range(labelled + unlabelled)]
    images = np.stack([image for image, _ in pages])
    labels = np.stack([label for _, label in pages])
    folder.mkdir(parents=True, exist_ok=True)
    for name, volume in (
        ("train-volume.tif", images[:labelled]),
        ("train-labels.tif", labels[:labelled]),
        ("test-volume.tif", images[labelled:]),
    ):
        tifffile.imwrite(folder / name, volume, photometric="minisblack")


def _slice(rng: np.random.Generator, size_px: int) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """One slice: the image and its label, 0 on membranes and 255 in cells."""
    # Cells are the regions nearest to the centres of a shaken grid, bent by a smooth field; a membrane runs where the
    # two nearest centres are about equally far.
    edges = np.arange(-2 * CELL_DIAMETER_PX, size_px + 2 * CELL_DIAMETER_PX, CELL_DIAMETER_PX, dtype=float)
    centres = np.stack(np.meshgrid(edges, edges), axis=-1).reshape(-1, 2)
    centres += rng.uniform(-0.4, 0.4, centres.shape) * CELL_DIAMETER_PX
    grid = np.stack(np.meshgrid(np.arange(size_px), np.arange(size_px), indexing="ij"), axis=-1).astype(float)
    grid += np.stack([_smooth_noise(rng, size_px, sigma=12) * 6 for _ in range(2)], axis=-1)
    distance, nearest = cKDTree(centres).query(grid, k=2)
    membrane = distance[..., 1] - distance[..., 0] < MEMBRANE_PX

    # Cytoplasm differs from cell to cell; dark organelles look like membranes but lie inside cells.
    cytoplasm = rng.normal(165, 14, len(centres))[nearest[..., 0]]
    organelles = (_smooth_noise(rng, size_px, sigma=4) > 2.0) & (distance[..., 1] - distance[..., 0] > 2 * MEMBRANE_PX)
    image = np.where(membrane, 70.0, np.where(organelles, 95.0, cytoplasm))
    image = gaussian_filter(image, 1.2) + rng.normal(0, 14, image.shape)
    return np.clip(image, 0, 255).astype(np.uint8), np.where(membrane, 0, 255).astype(np.uint8)


def _smooth_noise(rng: np.random.Generator, size_px: int, sigma: float) -> NDArray[Any]:
    noise: NDArray[Any] = gaussian_filter(rng.normal(size=(size_px, size_px)), sigma)
    return noise / noise.std()
