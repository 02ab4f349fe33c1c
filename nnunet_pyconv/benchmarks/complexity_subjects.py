"""Which networks the complexity table has."""

from __future__ import annotations

from functools import partial
from pydoc import ErrorDuringImport  # nnU-Net locates classes with pydoc
from typing import Any

from nnunetv2.utilities.get_network_from_plans import get_network_from_plans
from nnunetv2.utilities.label_handling.label_handling import determine_num_input_channels
from nnunetv2.utilities.plans_handling.plans_handler import PlansManager
from torch import nn

from nnunet_pyconv import paper
from nnunet_pyconv.benchmarks.complexity import Subject
from nnunet_pyconv.errors import InputError
from nnunet_pyconv.planning import open_plans


def paper_subjects() -> list[Subject]:
    """Return the rows of the paper's Table 3, at its input and with one class, in its order, and MultiResUNet."""
    channels, *_ = paper.INPUT_SHAPE
    return [
        Subject(
            network.name,
            partial(network.network_class, channels, 1, deep_supervision=network.counts_heads),
            paper.INPUT_SHAPE,
            network.table_3,
            network.note,
        )
        for network in paper.NETWORKS
    ]


def plans_subjects(dataset_name_or_id: str | int, plans_name: str) -> list[Subject]:
    """Return the configurations of a dataset's plans, at their patch size, without deep supervision.

    Args:
        dataset_name_or_id: As nnU-Net takes it.
        plans_name: Name of the plans, without `.json`.

    Returns:
        One entry a configuration.

    Raises:
        InputError: A dataset or plans that are not there or damaged; when built, a network that can't be.
    """
    manager, dataset_json = open_plans(dataset_name_or_id, plans_name)
    subjects = []
    for name in manager.available_configurations:
        try:
            subjects.append(_subject(name, manager, dataset_json))
        except Exception as error:  # plans that are not nnU-Net's fail in many ways
            raise InputError(
                f"configuration {name} of {plans_name}, or the dataset.json beside it, is not as nnU-Net writes it "
                f"({error!r}); plan again"
            ) from error
    if not subjects:
        raise InputError(f"{plans_name} of dataset {dataset_name_or_id} have no configuration; plan again")
    return subjects


def _subject(name: str, manager: PlansManager, dataset_json: dict[str, Any]) -> Subject:
    configuration = manager.get_configuration(name)
    channels = determine_num_input_channels(manager, configuration, dataset_json)
    patch_size = tuple(configuration.patch_size)
    if not all(isinstance(edge, int) and edge > 0 for edge in patch_size):
        raise ValueError(f"patch_size {configuration.patch_size}")
    build = partial(
        _build,
        f"configuration {name} of {manager.plans_name}",
        configuration.network_arch_class_name,
        configuration.network_arch_init_kwargs,
        configuration.network_arch_init_kwargs_req_import,
        channels,
        manager.get_label_manager(dataset_json).num_segmentation_heads,
        deep_supervision=False,
    )
    return Subject(name, build, (channels, *patch_size))


def _build(whose: str, network_class: str, *args: Any, **kwargs: Any) -> nn.Module:
    try:
        return get_network_from_plans(network_class, *args, **kwargs)
    except (ImportError, ErrorDuringImport) as error:
        raise InputError(
            f"{whose} names the network {network_class}, which can't be imported ({error}); install its package, or "
            "plan again"
        ) from error
    except Exception as error:  # whatever a network says to arguments that it can't use
        raise InputError(
            f"{whose}: the network {network_class} can't be built with its arch_kwargs ({error!r}); fix them, or plan "
            "again"
        ) from error
