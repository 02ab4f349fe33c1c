"""The network of a design, as plans."""

from __future__ import annotations

from copy import deepcopy
from typing import Any

from nnunet_pyconv.planning import Design


def with_design(plans: dict[str, Any], design: Design) -> dict[str, Any]:
    """Return stock plans with the network of a design in each configuration."""
    new = deepcopy(plans)
    for configuration in new["configurations"].values():
        configuration["architecture"] = design.architecture(configuration["architecture"], configuration["patch_size"])
    new["plans_name"] = design.plans_name
    return new
