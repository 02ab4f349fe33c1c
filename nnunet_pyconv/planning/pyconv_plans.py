"""Plans whose network has pyramidal convolutions, made from plans of nnU-Net."""

from __future__ import annotations

from collections.abc import Mapping
from copy import deepcopy
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from nnunetv2.utilities.get_network_from_plans import get_network_from_plans
from nnunetv2.utilities.label_handling.label_handling import determine_num_input_channels
from nnunetv2.utilities.plans_handling.plans_handler import ConfigurationManager, PlansManager
from torch import nn

from nnunet_pyconv.errors import InputError
from nnunet_pyconv.names import DEFAULT_SOURCE
from nnunet_pyconv.planning.design import Design, Stage, stages_of
from nnunet_pyconv.planning.plans_files import (
    MADE_BY,
    check_plans_name,
    load_dataset_json,
    load_plans,
    names_our_network,
    output_plans_file,
    preprocessed_folder,
    write_plans,
)


@dataclass(frozen=True)
class PlannedConfiguration:
    """What a configuration's network became.

    Attributes:
        name: The configuration, for example `2d`.
        network_class_name: The class that the plans name now.
        stages: Its stages, full resolution first.
        parameters_before: Parameters of the source plans' network.
        parameters_after: Parameters of the new plans' network.
    """

    name: str
    network_class_name: str
    stages: tuple[Stage, ...]
    parameters_before: int
    parameters_after: int


def plan_pyconv(
    dataset_name_or_id: str | int,
    source_plans: str = DEFAULT_SOURCE,
    output_plans: str | None = None,
    *,
    design: Design = Design(),  # noqa: B008  # frozen
    overwrite: bool = False,
) -> tuple[Path, list[PlannedConfiguration]]:
    """Write plans whose network is `PyConvUNet` or `PyConvResidualEncoderUNet`, or a narrow or shallow one of nnU-Net.

    Everything but the architecture is that of the source plans, `data_identifier` included: the preprocessed data are
    shared. Since the plans name a class that can be imported, they train and predict with any trainer, nnU-Net's own
    included.

    Args:
        dataset_name_or_id: As nnU-Net takes it: `312`, `"312"` or `"Dataset312_ISBICell"`.
        source_plans: Name of the plans to start from, without `.json`.
        output_plans: Name of the plans to write, without `.json`; None names them after the design.
        design: Block, width and depth of the network.
        overwrite: Whether to replace plans of that name.

    Returns:
        The plans file, and for each configuration with a network of its own what became of it.

    Raises:
        InputError: `nnUNet_preprocessed` unset, a dataset or plans that are not there, plans of a planner that
            nnU-Net doesn't know, a network that can't be swapped, or an output that exists.
    """
    folder = preprocessed_folder(dataset_name_or_id)
    output_plans = design.plans_name if output_plans is None else output_plans
    check_plans_name(output_plans)
    plans = load_plans(folder, source_plans)
    output_file = output_plans_file(folder, output_plans, source=source_plans, overwrite=overwrite)
    dataset_json = load_dataset_json(folder)
    new_plans, planned = swap_plans(plans, dataset_json, output_plans, design)
    write_plans(new_plans, output_file)
    return output_file, planned


def swap_plans(
    plans: Mapping[str, Any],
    dataset_json: dict[str, Any],
    output_plans: str,
    design: Design = Design(),  # noqa: B008  # frozen
) -> tuple[dict[str, Any], list[PlannedConfiguration]]:
    """Return plans with every network replaced by the one that a design makes of it.

    A configuration that inherits its network and its patch size (`3d_cascade_fullres`) inherits the new network.

    Args:
        plans: nnU-Net's plans.
        dataset_json: nnU-Net's `dataset.json`; it gives the channels and classes for counting parameters.
        output_plans: Name of the new plans.
        design: Block, width and depth of the network.

    Returns:
        The new plans, and for each configuration with a network of its own what became of it.

    Raises:
        InputError: Plans of an unknown planner, or a network that can't be swapped.
    """
    manager = PlansManager(deepcopy(dict(plans)))
    is_ours = manager.experiment_planner_name.startswith("nnUNetPlannerPyConv")
    if is_ours and names_our_network(manager.plans):
        raise InputError(
            f"the plans {manager.plans_name} were made by {manager.experiment_planner_name}, so they have pyramidal "
            f"convolutions already; train with them: nnUNetv2_train ... -p {manager.plans_name}"
        )
    if not is_ours and manager.experiment_planner_class is None:
        raise InputError(
            f"the plans {manager.plans_name} were made by {manager.experiment_planner_name}, a planner that this "
            "nnU-Net doesn't have, so what they hold is unknown; make plans with nnUNetv2_plan_experiment and give "
            "their name with -p"
        )
    new_plans = deepcopy(manager.plans)
    new_plans["plans_name"] = output_plans
    new_plans.pop(MADE_BY, None)  # of the source
    if design != Design():
        new_plans[MADE_BY] = design.to_json()
    planned = []
    for name, raw_configuration in new_plans["configurations"].items():
        if "inherits_from" in raw_configuration and not {"architecture", "patch_size"} & raw_configuration.keys():
            continue
        try:
            # get_configuration also brings the keys of old plans into today's form
            configuration = manager.get_configuration(name)
            architecture = design.architecture(configuration.configuration["architecture"], configuration.patch_size)
            swapped = {**deepcopy(configuration.configuration), "architecture": architecture}
            before = _count_parameters(manager, configuration, dataset_json)
            after = _count_parameters(manager, ConfigurationManager(swapped), dataset_json)
        except InputError:
            raise
        except Exception as error:  # whatever a damaged configuration makes nnU-Net or torch raise
            raise InputError(
                f"the configuration {name} of the plans {manager.plans_name} gives no network ({error!r}); "
                "make the plans anew with nnUNetv2_plan_experiment"
            ) from error
        raw_configuration.clear()
        raw_configuration.update(swapped)
        class_name, stages = architecture["network_class_name"], stages_of(architecture)
        planned.append(PlannedConfiguration(name, class_name, stages, before, after))
    return new_plans, planned


def network_on_meta(
    manager: PlansManager, configuration: ConfigurationManager, dataset_json: dict[str, Any]
) -> nn.Module:
    """Build the network of a configuration on torch's meta device: its shapes, without memory.

    Args:
        manager: The plans.
        configuration: The configuration.
        dataset_json: nnU-Net's `dataset.json`; it gives the channels and classes.

    Returns:
        The network; it can't compute.
    """
    with torch.device("meta"):
        network: nn.Module = get_network_from_plans(
            configuration.network_arch_class_name,
            configuration.network_arch_init_kwargs,
            configuration.network_arch_init_kwargs_req_import,
            determine_num_input_channels(manager, configuration, dataset_json),
            manager.get_label_manager(dataset_json).num_segmentation_heads,
            allow_init=False,
        )
    return network


def _count_parameters(manager: PlansManager, configuration: ConfigurationManager, dataset_json: dict[str, Any]) -> int:
    return sum(parameter.numel() for parameter in network_on_meta(manager, configuration, dataset_json).parameters())
