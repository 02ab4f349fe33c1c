"""Small synthetic volumes: two blobs in noise, anisotropic spacing, as a raw dataset of nnU-Net."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import SimpleITK as sitk  # noqa: N813  # its own habit
from numpy.typing import NDArray

SHAPE_PX = (20, 40, 36)
SPACING_MM = (2.5, 1.0, 1.0)
BLOBS = {"background": 0, "left": 1, "right": 2}


def write_synthetic_volumes(
    raw: Path,
    name: str,
    *,
    labels: dict[str, Any] = BLOBS,
    train: int = 5,
    test: int = 2,
    channels: int = 1,
    shape: tuple[int, int, int] = SHAPE_PX,
    **entries: Any,
) -> Path:
    """Write a raw dataset; case N is the same in each.

    Args:
        raw: nnUNet_raw.
        name: As `Dataset021_Blobs`.
        labels: Of dataset.json; with an ignore label, the upper half of each volume is not labelled.
        train: Labelled cases in imagesTr.
        test: Cases in imagesTs and labelsTs.
        channels: The first has the blobs, further ones noise.
        shape: (Z, Y, X) of the volumes, in voxels; the blobs grow with it.
        **entries: Further entries of dataset.json.

    Returns:
        The dataset's folder.
    """
    folder = raw / name
    for part, first, count in (("Tr", 0, train), ("Ts", train, test)):
        for kind in ("images", "labels"):
            (folder / f"{kind}{part}").mkdir(parents=True)
        for case in range(first, first + count):
            image, truth = _blobs(case, shape)
            if "ignore" in labels:
                truth[: shape[0] // 2] = labels["ignore"]
            noise = np.random.default_rng(case).normal(size=(channels - 1, *shape)).astype(np.float32)
            for channel, volume in enumerate([image, *noise]):
                _write(volume, folder / f"images{part}" / f"case_{case:02d}_{channel:04d}.nii.gz")
            _write(truth, folder / f"labels{part}" / f"case_{case:02d}.nii.gz")
    dataset = {
        "channel_names": {str(channel): "MR" for channel in range(channels)},
        "labels": labels,
        "numTraining": train,
        "file_ending": ".nii.gz",
        **entries,
    }
    (folder / "dataset.json").write_text(json.dumps(dataset))
    return folder


def _blobs(seed: int, shape: tuple[int, int, int]) -> tuple[NDArray[np.float32], NDArray[np.uint8]]:
    """An image (Z, Y, X) of two ellipsoids in noise, and its labels 0, 1, 2."""
    rng = np.random.default_rng(seed)
    grid = np.stack(np.meshgrid(*[np.arange(size) for size in shape], indexing="ij"), -1).astype(float)
    growth = np.divide(shape, SHAPE_PX)
    labels = np.zeros(shape, np.uint8)
    for label, centre in ((1, (8, 13, 12)), (2, (11, 26, 24))):
        moved = np.array(centre) + rng.uniform(-2, 2, 3)
        labels[(((grid / growth - moved) / (4, 8, 8)) ** 2).sum(-1) < 1] = label
    return (labels * 2.0 + rng.normal(0, 0.4, shape)).astype(np.float32), labels


def _write(volume: NDArray[Any], file: Path) -> None:
    image = sitk.GetImageFromArray(volume)
    image.SetSpacing(SPACING_MM[::-1])
    sitk.WriteImage(image, str(file))
