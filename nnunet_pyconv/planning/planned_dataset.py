"""Plans for a dataset from a planner of ours, and what it chose beside nnU-Net's own."""

from __future__ import annotations

import contextlib
import io
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import nnunetv2
from nnunetv2.utilities.find_class_by_name import recursive_find_python_class
from nnunetv2.utilities.plans_handling.plans_handler import PlansManager

from nnunet_pyconv.errors import InputError
from nnunet_pyconv.nnunet_folders import dataset_id, nnunet_folder_if_set
from nnunet_pyconv.planning.design import Design, Stage, stages_of
from nnunet_pyconv.planning.planners import GB, PLANNERS, nnUNetPlannerPyConv
from nnunet_pyconv.planning.plans_files import (
    check_plans_name,
    is_plans_file,
    load_plans,
    output_plans_file,
    preprocessed_folder,
)

_OF_THE_DATA = ("preprocessor_name", "spacing", "normalization_schemes", "use_mask_for_norm")
"""Entries of a configuration that decide, with those of the resampling, what preprocessed data are."""


@dataclass(frozen=True)
class Choice:
    """Patch and batch of a configuration.

    Attributes:
        patch_size: In pixels.
        batch_size: Patches in a batch.
        memory_gb: Estimated memory of its training, in units of 2^30 bytes.
    """

    patch_size: tuple[int, ...]
    batch_size: int
    memory_gb: float


@dataclass(frozen=True)
class ChosenConfiguration:
    """What the planner chose for a configuration.

    Attributes:
        name: The configuration, for example `2d`.
        network_class_name: The class that the plans name.
        stages: Its stages, full resolution first.
        chosen: Patch and batch.
        whole_image: Whether the patch holds an image of the median size.
        next_batch_fits: Whether one more patch in the batch would fit; then the size of the dataset limits it.
        counterpart: What nnU-Net's own plans have, with the memory of its network by the same estimate; None where
            they are not there or lack the configuration.
        is_preprocessed: Whether the data that the configuration trains with are there.
    """

    name: str
    network_class_name: str
    stages: tuple[Stage, ...]
    chosen: Choice
    whole_image: bool
    next_batch_fits: bool
    counterpart: Choice | None
    is_preprocessed: bool


def plan_dataset(
    dataset_name_or_id: str | int,
    planner_name: str,
    output_plans: str | None = None,
    *,
    design: Design = Design(),  # noqa: B008  # frozen
    gpu_memory_gb: float | None = None,
    overwrite_target_spacing: Sequence[float] | None = None,
    preprocessor_name: str = "DefaultPreprocessor",
    overwrite: bool = False,
) -> tuple[Path, float, list[ChosenConfiguration]]:
    """Plan a dataset with one of our planners.

    Args:
        dataset_name_or_id: As nnU-Net takes it: `312`, `"312"` or `"Dataset312_ISBICell"`.
        planner_name: One of `PLANNERS`.
        output_plans: Name of the plans to write; None for the planner's own, or with a design of its own for
            both names together.
        design: Block, width and depth of the network.
        gpu_memory_gb: Memory that training may take; None for the planner's own.
        overwrite_target_spacing: Spacing of 3d_fullres, three numbers in the order of the images' axes, as nnU-Net's
            option of that name.
        preprocessor_name: Preprocessor of nnU-Net.
        overwrite: Whether to replace plans of that name.

    Returns:
        The plans file, the memory target in GB, and for each configuration with a network of its own what was chosen.

    Raises:
        InputError: An unknown planner, a folder that is not set, a dataset without raw data or fingerprint, a target
            that no patch fits, or an output that exists.
    """
    if planner_name not in PLANNERS:
        raise InputError(
            f"-pl {planner_name} is none of our planners ({', '.join(PLANNERS)}); for plans of nnU-Net's planners run "
            "nnUNetv2_plan_experiment, then give their name with -p"
        )
    if gpu_memory_gb is not None and not (math.isfinite(gpu_memory_gb) and gpu_memory_gb > 0):
        raise InputError(f"-gpu_memory_target {gpu_memory_gb:g}: expected a positive number of GB")
    if overwrite_target_spacing is not None and (
        len(overwrite_target_spacing) != 3 or not all(math.isfinite(s) and s > 0 for s in overwrite_target_spacing)
    ):
        raise InputError(
            f"-overwrite_target_spacing {' '.join(map(str, overwrite_target_spacing))}: expected three positive numbers"
        )
    folder_of_preprocessors = str(Path(nnunetv2.__path__[0]) / "preprocessing")
    if recursive_find_python_class(folder_of_preprocessors, preprocessor_name, "nnunetv2.preprocessing") is None:
        raise InputError(
            f"-preprocessor_name {preprocessor_name}: nnU-Net has no such class in nnunetv2.preprocessing, where it "
            "looks for preprocessors; expected one that is there, for example DefaultPreprocessor"
        )
    planner_class = PLANNERS[planner_name]
    output_plans = planner_class.default_plans_name(design) if output_plans is None else output_plans
    check_plans_name(output_plans)
    folder = preprocessed_folder(dataset_name_or_id, "dataset_fingerprint.json", "nnUNetv2_extract_fingerprint")
    raw = nnunet_folder_if_set("nnUNet_raw")
    if raw is None or not (raw / folder.name / "dataset.json").is_file():
        raise InputError(
            f"{folder.name} has no dataset.json in nnUNet_raw ({raw or 'not set'}), which planning reads; "
            "set the variable to the folder of the raw data"
        )
    file = output_plans_file(folder, output_plans, source=planner_class.counterpart, overwrite=overwrite)
    earlier = [
        load_plans(folder, name)["configurations"]
        for name in (output_plans, planner_class.counterpart)
        if is_plans_file(folder / f"{name}.json")
    ]
    try:
        planner = planner_class(
            folder.name,
            gpu_memory_gb,
            preprocessor_name,
            output_plans,
            None if overwrite_target_spacing is None else [float(spacing) for spacing in overwrite_target_spacing],
            design=design,
        )
        with contextlib.redirect_stdout(io.StringIO()):  # it prints whole plans
            planner.plan_experiment()
    except InputError:
        raise
    except (OSError, ValueError, KeyError, AssertionError, RuntimeError) as error:  # of damaged or missing files
        raise InputError(
            f"nnU-Net can't plan {folder.name} ({error!r}); check the raw data and the fingerprint with "
            f"nnUNetv2_extract_fingerprint -d {dataset_id(folder.name)} --clean --verify_dataset_integrity"
        ) from error
    plans = load_plans(folder, output_plans)
    return file, float(planner.UNet_vram_target_GB), _explain(planner, plans, folder, earlier)


def _explain(
    planner: nnUNetPlannerPyConv, plans: dict[str, Any], folder: Path, earlier: list[dict[str, Any]]
) -> list[ChosenConfiguration]:
    counterpart_file = folder / f"{planner.counterpart}.json"
    stock = PlansManager(str(counterpart_file)) if is_plans_file(counterpart_file) else None
    explained = []
    for name, plan in plans["configurations"].items():
        if "inherits_from" in plan:
            continue
        other = None
        if stock is not None and name in stock.available_configurations:
            with contextlib.suppress(Exception):  # of a network of somebody's own, which is nothing to compare with
                other = _choice(planner, stock.get_configuration(name).configuration)
        shape = plan["median_image_size_in_voxels"]
        next_batch_gb = planner.memory_of(plan, plan["batch_size"] + 1).peak_bytes / GB
        explained.append(
            ChosenConfiguration(
                name=name,
                network_class_name=plan["architecture"]["network_class_name"],
                stages=stages_of(plan["architecture"]),
                chosen=_choice(planner, plan),
                whole_image=all(edge >= size for edge, size in zip(plan["patch_size"], shape, strict=True)),
                next_batch_fits=next_batch_gb <= planner.UNet_vram_target_GB,
                counterpart=other,
                is_preprocessed=_is_preprocessed(plan, folder, earlier, planner.dataset_json["numTraining"]),
            )
        )
    return explained


def _is_preprocessed(plan: Mapping[str, Any], folder: Path, earlier: list[dict[str, Any]], n_cases: int) -> bool:
    """Whether all cases are there as the plan wants them: preprocessed by earlier plans with the same data."""
    if len(list((folder / plan["data_identifier"]).glob("*.pkl"))) < n_cases:
        return False
    keys = [key for key in plan if key in _OF_THE_DATA or key.startswith("resampling_fn")]
    of_these_data = [
        configuration
        for configurations in earlier
        for configuration in configurations.values()
        if configuration.get("data_identifier") == plan["data_identifier"]
    ]
    return bool(of_these_data) and all(each.get(key) == plan[key] for each in of_these_data for key in keys)


def _choice(planner: nnUNetPlannerPyConv, plan: Mapping[str, Any]) -> Choice:
    batch_size = int(plan["batch_size"])
    return Choice(tuple(plan["patch_size"]), batch_size, planner.memory_of(plan, batch_size).peak_bytes / GB)
