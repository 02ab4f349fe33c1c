"""Plans as nnU-Net writes them, for tests."""

from __future__ import annotations

from copy import deepcopy
from typing import Any

DATASET = "Dataset312_ISBICell"
DATASET_JSON = {"labels": {"background": 0, "cell": 1}, "channel_names": {"0": "EM"}, "file_ending": ".png"}


def make_plans(network: str = "PlainConvUNet", patch_size: int = 32) -> dict[str, Any]:
    """Plans as nnU-Net 2.8 writes them, cut to what training reads."""
    blocks = "n_conv_per_stage" if network == "PlainConvUNet" else "n_blocks_per_stage"
    return {
        "dataset_name": DATASET,
        "plans_name": "nnUNetPlans",
        "experiment_planner_used": "ExperimentPlanner",
        "label_manager": "LabelManager",
        "image_reader_writer": "NaturalImage2DIO",
        "transpose_forward": [0, 1, 2],
        "transpose_backward": [0, 1, 2],
        "configurations": {
            "2d": {
                "data_identifier": "nnUNetPlans_2d",
                "preprocessor_name": "DefaultPreprocessor",
                "batch_size": 2,
                "patch_size": [patch_size, patch_size],
                "architecture": {
                    "network_class_name": f"dynamic_network_architectures.architectures.unet.{network}",
                    "arch_kwargs": {
                        "n_stages": 3,
                        "features_per_stage": [8, 16, 32],
                        "conv_op": "torch.nn.modules.conv.Conv2d",
                        "kernel_sizes": [[3, 3]] * 3,
                        "strides": [[1, 1], [2, 2], [2, 2]],
                        blocks: [2, 2, 2],
                        "n_conv_per_stage_decoder": [2, 2],
                        "conv_bias": True,
                        "norm_op": "torch.nn.modules.instancenorm.InstanceNorm2d",
                        "norm_op_kwargs": {"eps": 1e-05, "affine": True},
                        "dropout_op": None,
                        "dropout_op_kwargs": None,
                        "nonlin": "torch.nn.LeakyReLU",
                        "nonlin_kwargs": {"inplace": True},
                    },
                    "_kw_requires_import": ["conv_op", "norm_op", "dropout_op", "nonlin"],
                },
            },
            "2d_large_batch": {"inherits_from": "2d", "batch_size": 9},
            "2d_small": {"inherits_from": "2d", "patch_size": [16, 16]},
        },
    }


def plans_3d(network: str) -> dict[str, Any]:
    """The plans of `make_plans`, with a flat and an isotropic stage, lowres and cascade."""
    plans = make_plans(network)
    configuration = plans["configurations"].pop("2d")
    architecture = configuration["architecture"]["arch_kwargs"]
    architecture["kernel_sizes"] = [[1, 3, 3], [3, 3, 3], [3, 3, 3]]
    architecture["strides"] = [[1, 1, 1], [1, 2, 2], [2, 2, 2]]
    for name, kind in (("conv_op", "conv.Conv"), ("norm_op", "instancenorm.InstanceNorm")):
        architecture[name] = f"torch.nn.modules.{kind}3d"
    fullres = {
        **configuration,
        "data_identifier": "nnUNetPlans_3d_fullres",
        "patch_size": [8, 16, 16],
        "batch_dice": True,
    }
    lowres = {**deepcopy(fullres), "data_identifier": "nnUNetPlans_3d_lowres", "next_stage": "3d_cascade_fullres"}
    cascade = {"inherits_from": "3d_fullres", "previous_stage": "3d_lowres"}
    plans["configurations"] = {"3d_lowres": lowres, "3d_fullres": fullres, "3d_cascade_fullres": cascade}
    return plans


def dataset_json(labels: dict[str, Any] | int = 2, channels: int = 1, **entries: Any) -> dict[str, Any]:
    """A dataset.json: labels as nnU-Net has them, or so many classes with the background."""
    if isinstance(labels, int):
        labels = {"background": 0, **{f"label {i}": i for i in range(1, labels)}}
    return {
        "labels": labels,
        "channel_names": {str(c): "MR" for c in range(channels)},
        "file_ending": ".png",
        **entries,
    }
