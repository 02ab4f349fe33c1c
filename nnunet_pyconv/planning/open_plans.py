"""Plans of a dataset, opened for reading."""

from __future__ import annotations

from typing import Any

from nnunetv2.utilities.plans_handling.plans_handler import PlansManager

from nnunet_pyconv.planning.plans_files import load_dataset_json, load_plans, preprocessed_folder


def open_plans(dataset_name_or_id: str | int, plans_name: str) -> tuple[PlansManager, dict[str, Any]]:
    """Open plans of a dataset.

    Args:
        dataset_name_or_id: As nnU-Net takes it: `312`, `"312"` or `"Dataset312_ISBICell"`.
        plans_name: Name of the plans, without `.json`.

    Returns:
        nnU-Net's manager of the plans, and its `dataset.json`.

    Raises:
        InputError: `nnUNet_preprocessed` unset, or a dataset or plans that are not there or damaged.
    """
    folder = preprocessed_folder(dataset_name_or_id)
    plans = load_plans(folder, plans_name)
    return PlansManager(plans), load_dataset_json(folder)
