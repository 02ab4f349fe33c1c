"""Plans files in the preprocessed folder of a dataset: found, checked, written whole."""

from __future__ import annotations

import re
import tempfile
from pathlib import Path
from typing import Any

from batchgenerators.utilities.file_and_folder_operations import load_json, save_json
from nnunetv2.paths import nnUNet_preprocessed
from nnunetv2.utilities.dataset_name_id_conversion import find_candidate_datasets, maybe_convert_to_dataset_name

from nnunet_pyconv.errors import InputError


def preprocessed_folder(
    dataset_name_or_id: str | int, file: str = "dataset.json", made_by: str = "nnUNetv2_plan_and_preprocess"
) -> Path:
    """Return the folder of a dataset in nnUNet_preprocessed.

    Args:
        dataset_name_or_id: As nnU-Net takes it: `312`, `"312"` or `"Dataset312_ISBICell"`.
        file: A file that it must have.
        made_by: The command that makes this file.

    Raises:
        InputError: `nnUNet_preprocessed` unset, or a dataset or file that is not there.
    """
    if not nnUNet_preprocessed.get():
        raise InputError(
            "the environment variable nnUNet_preprocessed is not set, so plans can't be found; "
            "set it to the folder that nnUNetv2_plan_and_preprocess wrote to"
        )
    try:
        name = maybe_convert_to_dataset_name(dataset_name_or_id)
    except (RuntimeError, ValueError) as error:
        found = find_candidate_datasets(int(dataset_name_or_id)) if str(dataset_name_or_id).isdigit() else []
        raise InputError(
            f"dataset {dataset_name_or_id!r} "
            + (f"is more than one: {', '.join(found)}" if len(found) else "not found in your nnU-Net folders")
            + "; give an ID or a name such as 312 or Dataset312_ISBICell that nnUNetv2_plan_and_preprocess has prepared"
        ) from error
    folder = Path(nnUNet_preprocessed.require()) / name
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


def is_plans_file(file: Path) -> bool:
    """Tell whether a file is there and holds plans of nnU-Net v2."""
    try:
        plans = load_json(str(file))
    except (OSError, ValueError):
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


def output_plans_file(folder: Path, name: str, not_to_replace: str, overwrite: bool) -> Path:
    """Return the file for plans that are about to be made.

    Args:
        folder: The dataset's folder in nnUNet_preprocessed.
        name: Name of the new plans.
        not_to_replace: Name of the plans that they are made from or compared with.
        overwrite: Whether other plans of that name may be replaced.

    Raises:
        InputError: There is something that may not be replaced.
    """
    file = folder / f"{name}.json"
    if file.exists():
        if name == not_to_replace or not is_plans_file(file) or not _names_a_network_of_ours(load_json(str(file))):
            raise InputError(f"{file} is not for us to replace; choose another name with -o")
        if not overwrite:
            raise InputError(f"{file} exists already; choose another name with -o, or replace it with --overwrite")
    return file


def write_whole(plans: dict[str, Any], file: Path) -> None:
    """Write plans so that the file is there as a whole or not at all.

    Raises:
        InputError: It can't be written there; what was there before is as it was.
    """
    try:
        with tempfile.TemporaryDirectory(prefix=f".{file.stem}-", dir=file.parent) as hidden:
            new = Path(hidden) / file.name
            save_json(plans, str(new), sort_keys=False)
            new.replace(file)
    except OSError as error:
        raise InputError(f"{file} can't be written ({error}); make room there, or make the folder writable") from error


def _names_a_network_of_ours(plans: dict[str, Any]) -> bool:
    """Whether we made the plans, or somebody of ours."""
    classes = [each.get("architecture", {}).get("network_class_name", "") for each in plans["configurations"].values()]
    return any(name.startswith("nnunet_pyconv.") for name in classes)
