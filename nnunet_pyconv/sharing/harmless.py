"""What of a stranger's model would run code in nnU-Net, refused or written anew."""

from __future__ import annotations

import pydoc
from typing import Any

from nnunetv2.postprocessing.remove_connected_components import remove_all_but_largest_component_from_segmentation
from torch import nn

from nnunet_pyconv.errors import InputError

_PACKAGES = ("torch.nn.", "dynamic_network_architectures.", "nnunet_pyconv.architectures.")
"""Where nnU-Net's plans and ours take networks and layers from."""


def check_classes(plans: Any) -> None:
    """Check that plans name networks and layers only.

    nnU-Net imports whatever name stands there and calls it with what stands beside it: `os.system` would do.

    Raises:
        InputError: Something else, or no plans.
    """
    try:
        for configuration in plans["configurations"].values():
            architecture = configuration.get("architecture")  # a configuration may take another's
            if architecture is None:
                continue
            arguments = architecture["arch_kwargs"]
            names = [arguments[key] for key in architecture["_kw_requires_import"]]
            for name in [architecture["network_class_name"], *names]:
                if name is not None:
                    _check_class(name)
    except (KeyError, TypeError, AttributeError) as error:
        raise InputError(f"plans.json is damaged ({error!r:.100}); ask for the package again") from error


def postprocessing_from_json(content: Any) -> tuple[list[Any], list[dict[str, Any]]]:
    """Make what nnU-Net keeps as a pickle in `postprocessing.pkl` from the JSON beside it.

    Raises:
        InputError: Other functions or arguments than nnU-Net's.
    """
    known = remove_all_but_largest_component_from_segmentation
    try:
        names, arguments = content["postprocessing_fns"], content["postprocessing_kwargs"]
        if len(names) != len(arguments) or set(names) - {known.__name__}:
            raise ValueError(f"functions {names!r:.200}")
        return [known] * len(names), [{"labels_or_regions": _labels(**given)} for given in arguments]
    except (KeyError, TypeError, ValueError) as error:
        raise InputError(
            f"postprocessing.json has other steps than nnU-Net's {known.__name__} ({error!r:.200}); expected what "
            "nnUNetv2_find_best_configuration wrote"
        ) from error


def _labels(labels_or_regions: Any) -> Any:
    """Labels, or regions of labels; JSON has lists for nnU-Net's tuples."""
    if isinstance(labels_or_regions, int):
        return labels_or_regions
    return [entry if isinstance(entry, int) else tuple(map(int, entry)) for entry in labels_or_regions]


def _check_class(name: Any) -> None:
    located: object = None
    if isinstance(name, str) and name.startswith(_PACKAGES):
        located = pydoc.locate(name)  # as nnU-Net finds it
    if not (isinstance(located, type) and issubclass(located, nn.Module)):
        raise InputError(
            f"plans.json names {name!r:.200}, where nnU-Net expects a network or a layer; expected classes of "
            f"{', '.join(_PACKAGES)} alone. Do not trust the package's source"
        )
