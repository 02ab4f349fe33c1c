"""Plans files in the preprocessed folder of a dataset: found, checked, written whole."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from batchgenerators.utilities.file_and_folder_operations import load_json, save_json

from nnunet_pyconv.errors import InputError
from nnunet_pyconv.nnunet_folders import dataset_name, nnunet_folder
from nnunet_pyconv.writing import whole_files

MADE_BY = "nnunet_pyconv"
"""Entry of plans of ours that says what their network is; nnU-Net doesn't read it."""


def preprocessed_folder(
    dataset_name_or_id: str | int, file: str = "dataset.json", made_by: str = "nnUNetv2_plan_and_preprocess"
) -> Path:
    """Return the folder of a dataset in nnUNet_preprocessed.

    Args:
        dataset_name_or_id: As nnU-Net takes it: `312`, `"312"` or `"Dataset312_ISBICell"`.
        file: A file that it must have.
        made_by: The command that makes this file.

    Raises:
        InputError: `nnUNet_preprocessed` unset, or a dataset or file that does not exist.
    """
    folder = nnunet_folder("nnUNet_preprocessed") / dataset_name(dataset_name_or_id)
    if not (folder / file).is_file():
        raise InputError(f"{folder} has no {file}; run {made_by} for it first")
    return folder


def load_plans(folder: Path, name: str) -> dict[str, Any]:
    """Load the plans of a name.

    Raises:
        InputError: They are not there, or no plans of nnU-Net v2.
    """
    file = folder / f"{name}.json"
    if not file.is_file():
        there = sorted(path.stem for path in folder.glob("*.json") if "Plans" in path.stem)
        raise InputError(
            f"plans {file} not found; {folder.name} has {', '.join(there) or 'no plans'}. "
            "Give one of them with -p, or make plans with nnUNetv2_plan_experiment"
        )
    if not is_plans_file(file):
        raise InputError(
            f"{file} is not a plans file of nnU-Net v2 (JSON with plans_name, configurations and "
            "experiment_planner_used); make the plans anew with nnUNetv2_plan_experiment"
        )
    return load_json(str(file))


def load_dataset_json(folder: Path) -> dict[str, Any]:
    """Load the `dataset.json` of a preprocessed dataset.

    Raises:
        InputError: It is not there, or damaged.
    """
    file = folder / "dataset.json"
    try:
        content = load_json(str(file))
        if not isinstance(content, dict):
            raise ValueError(f"it holds a {type(content).__name__}")
    except (OSError, ValueError, RecursionError) as error:
        raise InputError(f"{file} is damaged ({error}); copy it there from nnUNet_raw") from error
    return content


def is_plans_file(file: Path) -> bool:
    """Tell whether a file is there and holds plans of nnU-Net v2."""
    try:
        plans = load_json(str(file))
    except (OSError, ValueError, RecursionError):
        return False
    return (
        isinstance(plans, dict)
        and {"plans_name", "experiment_planner_used"} <= plans.keys()
        and isinstance(plans.get("configurations"), dict)
    )


def check_plans_name(name: str) -> None:
    """Check that nnU-Net can make file and folder names of the name of some plans.

    Raises:
        InputError: It can't.
    """
    if not re.fullmatch(r"\w[\w.+-]*", name) or "__" in name or name.endswith(".json"):
        raise InputError(
            f"plans can't be named {name!r}: nnU-Net makes file and folder names of it, with '__' between "
            "their parts; give -o a plain name without .json, for example nnUNetPyConvPlans"
        )
    if re.fullmatch(r"nnUNet(ResEncUNet\w*)?Plans", name):
        raise InputError(f"{name} is the name of plans of nnU-Net's own; choose another name with -o")


def output_plans_file(folder: Path, name: str, source: str, overwrite: bool) -> Path:
    """Return the file for plans that are about to be made.

    Args:
        folder: The dataset's folder in nnUNet_preprocessed.
        name: Name of the new plans.
        source: Name of the plans that they are made from or compared with.
        overwrite: Whether other plans of that name may be replaced.

    Raises:
        InputError: There is a file that may not be replaced.
    """
    file = folder / f"{name}.json"
    if file.exists():
        if name == source or not is_plans_file(file) or not _is_ours(load_json(str(file))):
            raise InputError(
                f"{file} was not written by nnunet_pyconv plan and would be lost; choose another name with -o"
                if name != source
                else f"{file} holds the plans to start from; choose another name with -o"
            )
        if not overwrite:
            raise InputError(f"{file} exists already; choose another name with -o, or replace it with --overwrite")
    return file


def write_plans(plans: dict[str, Any], file: Path) -> None:
    """Write plans so that the file is there as a whole or not at all.

    Raises:
        InputError: It can't be written there; what was there before is as it was.
    """
    try:
        with whole_files(file) as (new,):
            save_json(plans, str(new), sort_keys=False)
    except OSError as error:
        raise InputError(f"{file} can't be written ({error}); make room there, or make the folder writable") from error


def names_our_network(plans: dict[str, Any]) -> bool:
    """Tell whether a configuration of the plans has a network of ours."""
    classes = [each.get("architecture", {}).get("network_class_name", "") for each in plans["configurations"].values()]
    return any(name.startswith("nnunet_pyconv.") for name in classes)


def _is_ours(plans: dict[str, Any]) -> bool:
    """Tell whether plans were written by `nnunet_pyconv plan`, or name a network of ours."""
    return MADE_BY in plans or names_our_network(plans)
