"""Plans for networks with pyramidal convolutions."""

from nnunet_pyconv.planning.planned_dataset import Choice, ChosenConfiguration, plan_dataset
from nnunet_pyconv.planning.planners import PLANNERS
from nnunet_pyconv.planning.pyconv_plans import (
    DEFAULT_OUTPUT,
    DEFAULT_SOURCE,
    PlannedConfiguration,
    network_on_meta,
    plan_pyconv,
    swap_plans,
)

__all__ = [
    "DEFAULT_OUTPUT",
    "DEFAULT_SOURCE",
    "PLANNERS",
    "Choice",
    "ChosenConfiguration",
    "PlannedConfiguration",
    "network_on_meta",
    "plan_dataset",
    "plan_pyconv",
    "swap_plans",
]
