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


def plan(patch_size: Sequence[int], batch_size: int = 2, *, residual_encoder: bool = False) -> BenchmarkPlans:
    """Return plans with one configuration, whose network is the default one for this patch.

    What `ExperimentPlanner.get_plans_for_configuration` (nnU-Net, default_experiment_planner.py) writes for isotropic
    images of the size of the patch: two convolutions a stage, halved down to an edge of at least 4 pixels, 32 channels
    that double up to 512 in 2D and 320 in 3D, instance normalisation, leaky ReLU. With a residual encoder, what
    `ResEncUNetPlanner` (residual_encoder_unet_planners.py) writes: residual blocks in its stead, one convolution a
    stage of the decoder.

    Args:
        patch_size: In pixels, two or three axes.
        batch_size: Patches a step; 2 is nnU-Net's least.
        residual_encoder: Whether the network is nnU-Net's with a residual encoder.

    Returns:
        The plans with their one configuration, for images with one channel and one foreground label.

    Raises:
        InputError: A patch that nnU-Net wouldn't plan, or one too small for deep supervision.
    """
    dim = len(patch_size)
    if dim not in (2, 3):
        raise InputError(f"a patch of {dim} edges: expected two or three, for example 256 256")
    if min(patch_size) < 16:
        raise InputError(f"a patch of {min(patch_size)} pixels leaves no output to supervise; give 16 or more")
    _, strides, kernel_sizes, planned_size, _ = get_pool_and_conv_props([1.0] * dim, patch_size, 4, 999999)
    if list(planned_size) != list(patch_size):
        planned = "x".join(map(str, planned_size))
        raise InputError(f"nnU-Net plans no patch of {'x'.join(map(str, patch_size))}, but of {planned}; give that")
    # all that isn't the network is that of any 2D plans
    plans: dict[str, Any] = json.loads(files("nnunet_pyconv.plans").joinpath("nnUNetPyConvPlans.json").read_text())
    configuration = plans["configurations"].pop("2d")
    configuration |= {
        "patch_size": [int(edge) for edge in planned_size],
        "batch_size": batch_size,
        "architecture": stock_architecture(strides, kernel_sizes, residual_encoder=residual_encoder),
    }
    plans |= {"plans_name": "nnUNetPlans", "configurations": {CONFIGURATION: configuration}}
    return BenchmarkPlans(plans, CONFIGURATION, DATASET_JSON)


def stock_architecture(
    strides: Sequence[Sequence[int]], kernel_sizes: Sequence[Sequence[int]], *, residual_encoder: bool = False
) -> dict[str, Any]:
    """Return the entry `architecture` of nnU-Net's plans for a network of given stages.

    Args:
        strides: Of each stage, full resolution first.
        kernel_sizes: Of each stage.
        residual_encoder: As of `plan`.
    """
    n_stages, dim = len(strides), len(strides[0])
    if residual_encoder:
        network_class = "ResidualEncoderUNet"
        convolutions = {"n_blocks_per_stage": [1, 3, 4, *[6] * n_stages][:n_stages]}
    else:
        network_class = "PlainConvUNet"
        convolutions = {"n_conv_per_stage": [2] * n_stages}
    convolutions["n_conv_per_stage_decoder"] = [1 if residual_encoder else 2] * (n_stages - 1)
    return {
        "network_class_name": f"dynamic_network_architectures.architectures.unet.{network_class}",
        "arch_kwargs": {
            "n_stages": n_stages,
            "features_per_stage": [min(512 if dim == 2 else 320, 32 * 2**stage) for stage in range(n_stages)],
            "conv_op": f"torch.nn.modules.conv.Conv{dim}d",
            "kernel_sizes": [list(kernel_size) for kernel_size in kernel_sizes],
            "strides": [list(stride) for stride in strides],
            **convolutions,
            "conv_bias": True,
            "norm_op": f"torch.nn.modules.instancenorm.InstanceNorm{dim}d",
            "norm_op_kwargs": {"eps": 1e-5, "affine": True},
            "dropout_op": None,
            "dropout_op_kwargs": None,
            "nonlin": "torch.nn.LeakyReLU",
            "nonlin_kwargs": {"inplace": True},
        },
        "_kw_requires_import": ["conv_op", "norm_op", "dropout_op", "nonlin"],
    }
