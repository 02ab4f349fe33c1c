"""The paper's data augmentation."""

from __future__ import annotations

from collections.abc import Sequence

from batchgeneratorsv2.transforms.base.basic_transform import BasicTransform
from batchgeneratorsv2.transforms.spatial.mirroring import MirrorTransform
from batchgeneratorsv2.transforms.spatial.rot90 import Rot90Transform
from batchgeneratorsv2.transforms.utils.random import RandomTransform


def flips_and_rotations(patch_size: Sequence[int]) -> list[BasicTransform]:
    """Return horizontal flip, vertical flip, rotation by 90° and rotation by 180°, each with probability 1/2.

    The paper (section "Results") names these four and no probabilities; its published code has 1/2 for the flips,
    commented out. Drawn independently, they give each of the eight symmetries of the square with probability 1/8.

    Args:
        patch_size: `(Y, X)` in pixels. Without a square patch there is no rotation by 90°, which would not fit a batch.

    Returns:
        Transforms of `(C, Y, X)`, image and segmentation alike.
    """
    rotations = (1, 2) if patch_size[0] == patch_size[1] else (2,)  # in units of 90°
    return [
        MirrorTransform(allowed_axes=(0, 1)),  # each axis with probability 1/2
        *(
            RandomTransform(
                Rot90Transform(num_axis_combinations=1, num_rot_per_combination=(rotation,), allowed_axes={0, 1}),
                apply_probability=0.5,
            )
            for rotation in rotations
        ),
    ]
