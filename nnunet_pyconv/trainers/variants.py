"""nnU-Net's variants of its trainer, with pyramidal convolutions.

`nnUNetTrainerPyConv_50epochs`, `nnUNetTrainerPyConvNoMirroring`, `nnUNetTrainerPyConvBN` and so on: for each variant
that the installed nnU-Net has, this module has the class of that name with `nnUNetTrainerPyConv` for `nnUNetTrainer`.
It takes its network from `nnUNetTrainerPyConv` and all else from nnU-Net's class, and is made when first asked for.

`nnUNetTrainerPyConvBottleneck_50epochs` and so on have its bottlenecks, and of the paper's recipe there are nnU-Net's
training lengths: `nnUNetTrainerPyConvPaper_5epochs` and so on. `nnUNetTrainer_5passes` and so on are nnU-Net's own
recipe for as many images.
"""

from __future__ import annotations

import functools
import re
from pathlib import Path

import nnunetv2
from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer
from nnunetv2.utilities.find_class_by_name import recursive_find_python_class
from nnunetv2.utilities.plans_handling.plans_handler import ConfigurationManager, PlansManager
from torch import nn

from nnunet_pyconv.nn import Block
from nnunet_pyconv.trainers.nnUNetTrainerPyConv import nnUNetTrainerPyConv, with_pyconv
from nnunet_pyconv.trainers.nnUNetTrainerPyConvPaper import nnUNetTrainerPyConvPaper
from nnunet_pyconv.trainers.passes import trainer_of_passes

_LONGER_PREFIXES = ("nnUNetTrainerPyConvPaper", "nnUNetTrainerPyConvBottleneck")


@functools.cache
def __getattr__(name: str) -> type[nnUNetTrainer]:
    if passes := re.fullmatch(r"nnUNetTrainer_([1-9]\d*)passes", name):
        return trainer_of_passes(int(passes[1]))
    prefix = next((prefix for prefix in _LONGER_PREFIXES if name.startswith(prefix)), "nnUNetTrainerPyConv")
    variant = name.removeprefix(prefix)
    stock = _find("nnUNetTrainer" + variant) if variant not in ("", name) else None
    if stock is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    bases: tuple[type, ...]
    if prefix == nnUNetTrainerPyConvPaper.__name__:
        bases = (stock, nnUNetTrainerPyConvPaper)  # the recipe sets a length of its own, and the variant's follows it
    else:
        bases = (_with_network_of(stock, "plain" if prefix == "nnUNetTrainerPyConv" else "bottleneck"), stock)
    return type(name, bases, {"__module__": __name__, "__doc__": stock.__doc__})


def _find(name: str) -> type[nnUNetTrainer] | None:
    folder = Path(nnunetv2.__path__[0]) / "training" / "nnUNetTrainer"
    return recursive_find_python_class(str(folder), name, "nnunetv2.training.nnUNetTrainer")


def _with_network_of(stock: type[nnUNetTrainer], block: Block) -> type[nnUNetTrainerPyConv]:
    class WithNetwork(nnUNetTrainerPyConv):
        """Swaps the convolutions of a variant's own network, for example that with batch normalisation."""

        @staticmethod
        def build_network_architecture(
            plans_manager: PlansManager,
            configuration_manager: ConfigurationManager,
            num_input_channels: int,
            num_output_channels: int,
            enable_deep_supervision: bool = True,
        ) -> nn.Module:
            network = stock.build_network_architecture(
                plans_manager, configuration_manager, num_input_channels, num_output_channels, enable_deep_supervision
            )
            return with_pyconv(network, configuration_manager, block)

    return WithNetwork
