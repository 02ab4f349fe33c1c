"""A network and a training small enough for a demo on two CPU cores."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

CONFIGURATION = "2d_demo"


@dataclass(frozen=True)
class DemoTraining:
    """What makes the demo's training short.

    Attributes:
        patch_size_px: Edge of the square patch.
        batch_size: Patches an iteration.
        features_per_stage: Channels of each stage, full resolution first.
        epochs: nnU-Net's epochs.
        iterations_per_epoch: Training iterations of an epoch.
    """

    patch_size_px: int
    batch_size: int
    features_per_stage: tuple[int, ...]
    epochs: int
    iterations_per_epoch: int


SYNTHETIC = DemoTraining(64, 4, (16, 32, 64), epochs=5, iterations_per_epoch=20)
REAL = DemoTraining(192, 2, (16, 32, 64, 128, 128), epochs=10, iterations_per_epoch=100)


def small_configuration(plans: dict[str, Any], training: DemoTraining) -> dict[str, Any]:
    """Return a configuration that inherits from `2d` and has a smaller network, patch and batch.

    nnU-Net's documented way of changing plans (documentation/explanation_plans_files.md).

    Args:
        plans: nnU-Net's plans with a configuration `2d`.
        training: The sizes.

    Returns:
        The configuration, for `plans["configurations"]`.
    """
    architecture = plans["configurations"]["2d"]["architecture"]
    n_stages = len(training.features_per_stage)
    return {
        "inherits_from": "2d",
        "patch_size": [training.patch_size_px] * 2,
        "batch_size": training.batch_size,
        "architecture": {
            **architecture,
            "arch_kwargs": {
                **architecture["arch_kwargs"],
                "n_stages": n_stages,
                "features_per_stage": list(training.features_per_stage),
                "kernel_sizes": [[3, 3]] * n_stages,
                "strides": [[1, 1]] + [[2, 2]] * (n_stages - 1),
                "n_conv_per_stage": [2] * n_stages,
                "n_conv_per_stage_decoder": [2] * (n_stages - 1),
            },
        },
    }
