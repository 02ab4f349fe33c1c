"""Plans for networks with pyramidal convolutions."""

from nnunet_pyconv.planning.pyconv_plans import (
    DEFAULT_OUTPUT,
    DEFAULT_SOURCE,
    PlannedConfiguration,
    network_on_meta,
    plan_pyconv,
    swap_plans,
)

__all__ = ["DEFAULT_OUTPUT", "DEFAULT_SOURCE", "PlannedConfiguration", "network_on_meta", "plan_pyconv", "swap_plans"]
