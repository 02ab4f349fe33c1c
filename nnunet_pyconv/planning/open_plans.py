"""Plans of a dataset, opened for reading."""

from __future__ import annotations

from typing import Any

from batchgenerators.utilities.file_and_folder_operations import load_json
from nnunetv2.utilities.plans_handling.plans_handler import PlansManager

from nnunet_pyconv.errors import InputError
from nnunet_pyconv.planning.plans_files import load_plans, preprocessed_folder


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
    try:
        dataset_json = load_json(str(folder / "dataset.json"))
    except ValueError as error:
        raise InputError(f"{folder / 'dataset.json'} is damaged ({error}); copy it there from nnUNet_raw") from error
    return PlansManager(plans), dataset_json
