"""Plans for the networks of the paper's comparison."""

from __future__ import annotations

import math
from collections.abc import Sequence
from copy import deepcopy
from pathlib import Path
from typing import Any

from nnunet_pyconv import paper
from nnunet_pyconv.errors import InputError
from nnunet_pyconv.names import DEFAULT_SOURCE, PAPER_PLANS
from nnunet_pyconv.planning.plans_files import (
    check_plans_name,
    load_plans,
    output_plans_file,
    preprocessed_folder,
    write_plans,
)


def plan_paper(
    dataset_name_or_id: str | int,
    source_plans: str = DEFAULT_SOURCE,
    output_plans: str = PAPER_PLANS,
    *,
    overwrite: bool = False,
) -> tuple[Path, list[str]]:
    """Write `PyConvUNetPaperPlans`: the paper's networks as configurations of one plans file.

    The configurations inherit from the `2d` of the source plans, with which they share the preprocessed data. The patch
    is the whole image (the dataset's median), the batch 5.

    Args:
        dataset_name_or_id: As nnU-Net takes it: `312`, `"312"` or `"Dataset312_ISBICell"`.
        source_plans: Name of the plans to start from, without `.json`.
        output_plans: Name of the plans to write.
        overwrite: Whether to replace plans of that name.

    Returns:
        The plans file, and the names of the paper's configurations.

    Raises:
        InputError: `nnUNet_preprocessed` unset, a dataset or plans that are not there, plans without a 2D
            configuration, or plans of that name that exist.
    """
    check_plans_name(output_plans)
    folder = preprocessed_folder(dataset_name_or_id)
    source = load_plans(folder, source_plans)
    base = source["configurations"].get("2d")
    median_size = _median_size(base)
    if median_size is None:
        raise InputError(
            f"the plans {source_plans} have no configuration 2d with a median image size, on which the paper's "
            "networks build; make plans with nnUNetv2_plan_experiment and give their name with -p"
        )
    if source_plans == output_plans:
        raise InputError(f"{output_plans} are the plans to write; give the plans to start from with -p")
    output_file = output_plans_file(folder, output_plans, source_plans, overwrite)
    configurations = paper_configurations(median_size)
    plans = {**source, "plans_name": output_plans, "configurations": {"2d": deepcopy(base), **configurations}}
    write_plans(plans, output_file)
    return output_file, list(configurations)


def paper_configurations(patch_size: Sequence[int]) -> dict[str, Any]:
    """Return the configurations of the paper's networks, as plans have them.

    Args:
        patch_size: `(Y, X)`.

    Returns:
        Configuration by name. The first inherits from `2d`, the others from the first.
    """
    first, *others = paper.NETWORKS
    sampling = {"patch_size": list(patch_size), "batch_size": paper.BATCH_SIZE}
    return {
        first.configuration: {"inherits_from": "2d", **sampling, "architecture": _architecture(first)},
        **{
            network.configuration: {"inherits_from": first.configuration, "architecture": _architecture(network)}
            for network in others
        },
    }


def _architecture(network: paper.PaperNetwork) -> dict[str, Any]:
    # The strides tell nnU-Net's loss how many outputs there are with deep supervision, all at full resolution.
    strides = [[1, 1]] * (network.network_class.n_outputs + 1)
    return {"network_class_name": network.class_name, "arch_kwargs": {"strides": strides}, "_kw_requires_import": []}


def _median_size(configuration: Any) -> list[int] | None:
    """The median image size `(Y, X)` of a configuration; None if it has none that serves."""
    size = configuration.get("median_image_size_in_voxels") if isinstance(configuration, dict) else None
    if not isinstance(size, list) or len(size) != 2:
        return None
    if not all(isinstance(edge, (int, float)) and 1 <= edge < math.inf for edge in size):
        return None
    return [round(edge) for edge in size]
