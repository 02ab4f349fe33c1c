"""What the plans beside a trained model say of it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from batchgenerators.utilities.file_and_folder_operations import load_json

from nnunet_pyconv.errors import InputError
from nnunet_pyconv.nnunet_folders import Setup


@dataclass(frozen=True)
class PlannedModel:
    """What plans say of a configuration.

    Attributes:
        network_class: Name of the network's class; empty if they don't say.
        spacing: Size of a pixel to which images are resampled; empty if they don't say.
        is_resampled: Whether that is another size than the dataset's median.
    """

    network_class: str = ""
    spacing: tuple[float, ...] = ()
    is_resampled: bool = False


def read_planned_model(folder: Path, setup: Setup) -> PlannedModel:
    """Read the plans that nnU-Net keeps beside a model.

    Args:
        folder: The model's folder in `nnUNet_results`.
        setup: Its setup.

    Returns:
        What they say; nothing where there are none.

    Raises:
        InputError: A file that holds no plans.
    """
    plans_file = folder / "plans.json"
    if not plans_file.is_file():
        return PlannedModel()
    try:
        plans = load_json(str(plans_file))
        configuration = _with_inherited(plans["configurations"], setup.configuration)
        network_class = str(configuration.get("architecture", {}).get("network_class_name", ""))
        spacing = tuple(float(step) for step in configuration.get("spacing", ()))
        original = [float(step) for step in plans.get("original_median_spacing_after_transp", ())]
        median = original[len(original) - len(spacing) :]  # a 2D configuration has no spacing between slices
        resampled = any(abs(step - other) > 1e-3 * other for step, other in zip(spacing, median, strict=False))
        return PlannedModel(network_class, spacing, resampled)
    except (ValueError, LookupError, TypeError, AttributeError) as error:
        raise InputError(
            f"{plans_file} are no plans of nnU-Net ({error!r}); copy those there that the model was trained with, or "
            "leave it out: choose with -tr, -p and -c"
        ) from error


def _with_inherited(configurations: dict[str, Any], name: str) -> dict[str, Any]:
    """A configuration with what it inherits; empty if there is none of that name."""
    chain: list[dict[str, Any]] = []
    names: list[str] = []
    while name in configurations and name not in names:
        names.append(name)
        chain.append(configurations[name])
        name = configurations[name].get("inherits_from")
    return {key: value for configuration in reversed(chain) for key, value in configuration.items()}
