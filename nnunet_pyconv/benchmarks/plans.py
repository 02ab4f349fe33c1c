"""Plans for images of a given size, as nnU-Net makes them, without a dataset."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.resources import files
from typing import Any

from nnunetv2.experiment_planning.experiment_planners.network_topology import get_pool_and_conv_props

from nnunet_pyconv.errors import InputError

CONFIGURATION = "benchmark"
DATASET_JSON = {"channel_names": {"0": "image"}, "labels": {"background": 0, "foreground": 1}}


@dataclass(frozen=True)
class BenchmarkPlans:
    """A configuration of plans, with the dataset that they are for.

    Attributes:
        plans: nnU-Net's plans.
        configuration: The name of one of their configurations.
        dataset_json: Channels and labels of the dataset, no regions.
    """

    plans: dict[str, Any]
    configuration: str
    dataset_json: dict[str, Any]


def plan(patch_size: Sequence[int], batch_size: int = 2) -> BenchmarkPlans:
    """Return plans with one configuration, whose network is the default one for this patch.

    What `ExperimentPlanner.get_plans_for_configuration` (nnU-Net, default_experiment_planner.py) writes for isotropic
    images of the size of the patch: two convolutions a stage, halved down to an edge of at least 4 pixels, 32 channels
    that double up to 512 in 2D and 320 in 3D, instance normalisation, leaky ReLU.

    Args:
        patch_size: In pixels, two or three axes.
        batch_size: Patches a step; 2 is nnU-Net's least.

    Returns:
        The plans with their one configuration, for images with one channel and one foreground label.

    Raises:
        InputError: A patch that nnU-Net wouldn't plan, or one too small for deep supervision.
    """
    dim = len(patch_size)
    if min(patch_size) < 16:
        raise InputError(f"a patch of {min(patch_size)} pixels leaves no output to supervise; give 16 or more")
    _, strides, kernel_sizes, planned_size, _ = get_pool_and_conv_props([1.0] * dim, patch_size, 4, 999999)
    if list(planned_size) != list(patch_size):
        planned = "x".join(map(str, planned_size))
        raise InputError(f"nnU-Net plans no patch of {'x'.join(map(str, patch_size))}, but of {planned}; give that")
    n_stages = len(strides)
    # all that isn't the network is that of any 2D plans
    plans: dict[str, Any] = json.loads(files("nnunet_pyconv.plans").joinpath("nnUNetPyConvPlans.json").read_text())
    configuration = plans["configurations"].pop("2d")
    configuration |= {
        "patch_size": [int(edge) for edge in planned_size],
        "batch_size": batch_size,
        "architecture": {
            "network_class_name": "dynamic_network_architectures.architectures.unet.PlainConvUNet",
            "arch_kwargs": {
                "n_stages": n_stages,
                "features_per_stage": [min(512 if dim == 2 else 320, 32 * 2**stage) for stage in range(n_stages)],
                "conv_op": f"torch.nn.modules.conv.Conv{dim}d",
                "kernel_sizes": [list(kernel_size) for kernel_size in kernel_sizes],
                "strides": [list(stride) for stride in strides],
                "n_conv_per_stage": [2] * n_stages,
                "n_conv_per_stage_decoder": [2] * (n_stages - 1),
                "conv_bias": True,
                "norm_op": f"torch.nn.modules.instancenorm.InstanceNorm{dim}d",
                "norm_op_kwargs": {"eps": 1e-5, "affine": True},
                "dropout_op": None,
                "dropout_op_kwargs": None,
                "nonlin": "torch.nn.LeakyReLU",
                "nonlin_kwargs": {"inplace": True},
            },
            "_kw_requires_import": ["conv_op", "norm_op", "dropout_op", "nonlin"],
        },
    }
    plans |= {"plans_name": "nnUNetPlans", "configurations": {CONFIGURATION: configuration}}
    return BenchmarkPlans(plans, CONFIGURATION, DATASET_JSON)
