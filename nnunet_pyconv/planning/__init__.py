"""Plans for networks with pyramidal convolutions."""

from nnunet_pyconv.planning.design import Design, Stage
from nnunet_pyconv.planning.open_plans import open_plans
from nnunet_pyconv.planning.paper_plans import plan_paper
from nnunet_pyconv.planning.planned_dataset import Choice, ChosenConfiguration, plan_dataset
from nnunet_pyconv.planning.planners import PLANNERS
from nnunet_pyconv.planning.pyconv_plans import (
    PlannedConfiguration,
    network_on_meta,
    plan_pyconv,
    swap_plans,
)

__all__ = [
    "PLANNERS",
    "Choice",
    "ChosenConfiguration",
    "Design",
    "PlannedConfiguration",
    "Stage",
    "network_on_meta",
    "open_plans",
    "plan_dataset",
    "plan_paper",
    "plan_pyconv",
    "swap_plans",
]
