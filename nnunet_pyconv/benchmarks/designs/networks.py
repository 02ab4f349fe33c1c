"""The network of a design, as plans."""

from __future__ import annotations

from copy import deepcopy
from typing import Any

from nnunet_pyconv.benchmarks.designs.data import CONFIGURATION
from nnunet_pyconv.benchmarks.designs.design import Design
from nnunet_pyconv.planning.pyconv_plans import swap_plans


def with_design(plans: dict[str, Any], design: Design, dataset_json: dict[str, Any]) -> dict[str, Any]:
    """Return stock plans with the network of a design, under a name of their own."""
    new = deepcopy(plans)
    new["plans_name"] = f"{plans['plans_name']}_{design}"
    kwargs = new["configurations"][CONFIGURATION]["architecture"]["arch_kwargs"]
    kwargs["features_per_stage"] = [max(1, round(f * design.width)) for f in kwargs["features_per_stage"]]
    if design.stages is not None:
        for key, value in kwargs.items():
            if isinstance(value, list):
                n = design.stages - 1 if key.endswith("decoder") else design.stages
                kwargs[key] = value[:n]
        kwargs["n_stages"] = design.stages
    if design.block == "stock":
        return new
    swapped, _ = swap_plans(new, dataset_json, new["plans_name"], design.block)
    return swapped
