"""nnU-Net's experiment planners for networks with pyramidal convolutions, with a memory model of their own.

nnU-Net's command looks for planners inside nnunetv2 only; `nnunet_pyconv plan -pl` runs these.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import torch
from nnunetv2.experiment_planning.experiment_planners.default_experiment_planner import ExperimentPlanner
from nnunetv2.experiment_planning.experiment_planners.residual_unets.residual_encoder_unet_planners import (
    ResEncUNetPlanner,
)
from nnunetv2.utilities.get_network_from_plans import get_network_from_plans
from nnunetv2.utilities.json_export import recursive_fix_for_json_export

from nnunet_pyconv.channel_names import channel_names
from nnunet_pyconv.errors import InputError
from nnunet_pyconv.nnunet_folders import nnunet_folder
from nnunet_pyconv.planning.design import LEAST_STAGES, Design
from nnunet_pyconv.planning.memory import TrainingMemory, training_memory
from nnunet_pyconv.planning.plans_files import MADE_BY, write_plans

GB = 2**30
"""Bytes of the GB of `-gpu_memory_target`: those in which the memory of GPUs is sold."""


def memory_of_plan(
    patch_size: Sequence[int],
    batch_size: int,
    input_channels: int,
    output_channels: int,
    architecture: Mapping[str, Any],
) -> TrainingMemory:
    """Estimate the memory of training with a configuration of some plans.

    Args:
        patch_size: `([Z,] Y, X)` in pixels.
        batch_size: Patches in a batch.
        input_channels: Of the images.
        output_channels: Of the network.
        architecture: Of the plans; `network_class_name`, `arch_kwargs` and `_kw_requires_import`.
    """
    with torch.device("meta"):
        network = get_network_from_plans(
            architecture["network_class_name"],
            architecture["arch_kwargs"],
            architecture["_kw_requires_import"],
            input_channels,
            output_channels,
            allow_init=False,
            deep_supervision=True,
        )
    return training_memory(network, (batch_size, input_channels, *map(int, patch_size)))


class nnUNetPlannerPyConv(ExperimentPlanner):
    """nnU-Net's default planner for `PyConvUNet`, or for another design of nnU-Net's network.

    Spacing, topology and the search for the patch size are nnU-Net's. Its estimate of the memory is replaced by
    `training_memory`, so `gpu_memory_target_in_gb` is compared with what training allocates: the patch is the largest
    of nnU-Net's search whose smallest batch fits, and the batch the largest that fits then, up to nnU-Net's limit by
    the size of the dataset.
    """

    counterpart: ClassVar[str] = "nnUNetPlans"
    """Plans of nnU-Net's own planner."""
    default_gpu_memory_gb: ClassVar[float] = 8

    def __init__(
        self,
        dataset_name_or_id: str | int,
        gpu_memory_target_in_gb: float | None = None,
        preprocessor_name: str = "DefaultPreprocessor",
        plans_name: str | None = None,
        overwrite_target_spacing: Sequence[float] | None = None,
        suppress_transpose: bool = False,
        design: Design = Design(),  # noqa: B008  # frozen
    ) -> None:
        super().__init__(
            dataset_name_or_id,
            gpu_memory_target_in_gb or self.default_gpu_memory_gb,
            preprocessor_name,
            plans_name or self.default_plans_name(design),
            overwrite_target_spacing,
            suppress_transpose,
        )
        self.design = design
        # nnU-Net compares its estimate with reference * GB / corresponding GB: with these, bytes of the smallest batch.
        self.UNet_reference_val_2d = self.UNet_reference_val_3d = GB
        self.UNet_reference_val_corresp_GB = 1
        self.UNet_reference_val_corresp_bs_2d = self.UNet_reference_val_corresp_bs_3d = self.UNet_min_batch_size

    @classmethod
    def default_plans_name(cls, design: Design = Design()) -> str:  # noqa: B008  # frozen
        """Name the plans after the planner and, unless it is the default, the design."""
        of_design = "" if design == Design() else design.plans_name.removeprefix("nnUNet").removesuffix("Plans")
        return f"{cls.__name__}{of_design.removeprefix('PyConv')}Plans"

    def static_estimate_VRAM_usage(  # noqa: N802  # nnU-Net's name, which it calls on self
        self,
        patch_size: Sequence[int],
        input_channels: int,
        output_channels: int,
        arch_class_name: str,
        arch_kwargs: dict[str, Any],
        arch_kwargs_req_import: Sequence[str],
    ) -> int:
        """Estimate the bytes of training with a batch of 2, nnU-Net's smallest.

        Raises:
            InputError: A patch that leaves the network less than three stages, so that nothing smaller is left to try.
        """
        if len(arch_kwargs["strides"]) < LEAST_STAGES:
            raise InputError(
                f"a patch of {' x '.join(map(str, patch_size))} pixels leaves less than {LEAST_STAGES} stages; "
                "either the images are too small for a U-Net, or -gpu_memory_target is"
            )
        architecture = {
            "network_class_name": arch_class_name,
            "arch_kwargs": arch_kwargs,
            "_kw_requires_import": arch_kwargs_req_import,
        }
        designed = self.design.architecture(architecture, patch_size)
        return memory_of_plan(patch_size, 2, input_channels, output_channels, designed).peak_bytes

    def get_plans_for_configuration(
        self,
        spacing: Sequence[float],
        median_shape: Sequence[int],
        data_identifier: str,
        approximate_n_voxels_dataset: float,
        _cache: dict[Any, Any],
    ) -> dict[str, Any]:
        """Plan a configuration as nnU-Net does, then design its network and choose the batch size by memory."""
        plan: dict[str, Any] = super().get_plans_for_configuration(
            spacing, median_shape, data_identifier, approximate_n_voxels_dataset, _cache
        )
        patch_size = plan["patch_size"]
        plan["architecture"] = self.design.architecture(plan["architecture"], patch_size)
        of_dataset = approximate_n_voxels_dataset * self.max_dataset_covered / math.prod(patch_size)
        plan["batch_size"] = self._largest_batch(plan, max(self.UNet_min_batch_size, round(of_dataset)), _cache)
        return plan

    def generate_data_identifier(self, configuration_name: str) -> str:
        """Share the preprocessed data of nnU-Net's own plans where they are the same, as its ResEnc planners do."""
        if (
            configuration_name in ("2d", "3d_fullres")
            and self.overwrite_target_spacing is None
            and self.preprocessor_name == "DefaultPreprocessor"
        ):
            return f"nnUNetPlans_{configuration_name}"
        return f"{self.plans_identifier}_{configuration_name}"

    def save_plans(self, plans: dict[str, Any]) -> None:
        """Write the plans, and nothing of earlier plans of that name."""
        recursive_fix_for_json_export(plans)
        if self.design != Design():
            plans[MADE_BY] = self.design.to_json()
        folder = nnunet_folder("nnUNet_preprocessed") / self.dataset_name
        write_plans(plans, folder / f"{self.plans_identifier}.json")

    def memory_of(self, plan: Mapping[str, Any], batch_size: int) -> TrainingMemory:
        """Estimate the memory of training with a configuration and another batch size."""
        channels = channel_names(self.dataset_json)
        classes = len(self.dataset_json["labels"])
        return memory_of_plan(plan["patch_size"], batch_size, len(channels), classes, plan["architecture"])

    def _largest_batch(self, plan: Mapping[str, Any], limit: int, cache: dict[Any, Any]) -> int:
        def memory(batch_size: int) -> TrainingMemory:
            key = (str(plan["patch_size"]), str(plan["architecture"]["arch_kwargs"]["strides"]), batch_size)
            if key not in cache:
                cache[key] = self.memory_of(plan, batch_size)
            return cache[key]

        target, smallest = self.UNet_vram_target_GB * GB, self.UNet_min_batch_size
        most = int(target / (memory(smallest).kept_bytes / smallest))
        batches = range(smallest, max(smallest, min(limit, most)) + 1)
        fitting = bisect_right(batches, target, key=lambda batch_size: memory(batch_size).peak_bytes)
        return batches[max(0, fitting - 1)]


class nnUNetPlannerPyConvResEncM(nnUNetPlannerPyConv, ResEncUNetPlanner):
    """nnU-Net's residual encoder presets for `PyConvResidualEncoderUNet`: M, for 8 GB."""

    counterpart = "nnUNetResEncUNetMPlans"

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.max_dataset_covered = 1  # as nnU-Net's presets


class nnUNetPlannerPyConvResEncL(nnUNetPlannerPyConvResEncM):
    """The preset L, for 24 GB."""

    counterpart = "nnUNetResEncUNetLPlans"
    default_gpu_memory_gb = 24


class nnUNetPlannerPyConvResEncXL(nnUNetPlannerPyConvResEncM):
    """The preset XL, for 40 GB."""

    counterpart = "nnUNetResEncUNetXLPlans"
    default_gpu_memory_gb = 40


PLANNERS: dict[str, type[nnUNetPlannerPyConv]] = {
    planner.__name__: planner
    for planner in (
        nnUNetPlannerPyConv,
        nnUNetPlannerPyConvResEncM,
        nnUNetPlannerPyConvResEncL,
        nnUNetPlannerPyConvResEncXL,
    )
}
"""The planners by the name that `-pl` takes and plans carry."""
