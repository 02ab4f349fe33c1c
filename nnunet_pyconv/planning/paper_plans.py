"""Plans for the six networks of the paper's comparison, and MultiResUNet."""

from __future__ import annotations

import json
import math
from copy import deepcopy
from importlib import resources
from pathlib import Path
from typing import Any

from nnunet_pyconv.errors import InputError
from nnunet_pyconv.names import DEFAULT_SOURCE, PAPER_PLANS
from nnunet_pyconv.planning.plans_files import load_plans, output_plans_file, preprocessed_folder, write_whole


def plan_paper(
    dataset_name_or_id: str | int, source_plans: str = DEFAULT_SOURCE, *, overwrite: bool = False
) -> tuple[Path, list[str]]:
    """Write `PyConvUNetPaperPlans`: the paper's six networks and MultiResUNet as configurations of one plans file.

    The configurations come from the template in `plans/`; they inherit from the `2d` of the source plans, with which
    they share the preprocessed data. The patch is the whole image (the dataset's median), the batch 5.

    Args:
        dataset_name_or_id: As nnU-Net takes it: `312`, `"312"` or `"Dataset312_ISBICell"`.
        source_plans: Name of the plans to start from, without `.json`.
        overwrite: Whether to replace plans of that name.

    Returns:
        The plans file, and the names of the seven configurations.

    Raises:
        InputError: `nnUNet_preprocessed` unset, a dataset or plans that are not there, plans without a 2D
            configuration, or paper plans that exist.
    """
    folder = preprocessed_folder(dataset_name_or_id)
    source = load_plans(folder, source_plans)
    base = source["configurations"].get("2d")
    median_size = _median_size(base)
    if median_size is None:
        raise InputError(
            f"the plans {source_plans} have no configuration 2d with a median image size, on which the paper's "
            "networks build; make plans with nnUNetv2_plan_experiment and give their name with -p"
        )
    if source_plans == PAPER_PLANS:
        raise InputError(f"{PAPER_PLANS} are what this writes; give the plans to start from with -p")
    output_file = output_plans_file(folder, PAPER_PLANS, source_plans, overwrite)

    template = json.loads(resources.files("nnunet_pyconv.plans").joinpath(f"{PAPER_PLANS}.json").read_text())
    configurations = template["configurations"]
    for configuration in configurations.values():
        if "patch_size" in configuration:
            configuration["patch_size"] = median_size
    plans = {**source, "plans_name": PAPER_PLANS, "configurations": {"2d": deepcopy(base), **configurations}}
    write_whole(plans, output_file)
    return output_file, list(configurations)


def _median_size(configuration: Any) -> list[int] | None:
    """The median image size `(Y, X)` of a configuration; None if it has none that serves."""
    size = configuration.get("median_image_size_in_voxels") if isinstance(configuration, dict) else None
    if not isinstance(size, list) or len(size) != 2:
        return None
    if not all(isinstance(edge, (int, float)) and 1 <= edge < math.inf for edge in size):
        return None
    return [round(edge) for edge in size]
