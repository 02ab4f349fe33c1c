"""nnU-Net's variants of its trainer, with pyramidal convolutions.

`nnUNetTrainerPyConv_50epochs`, `nnUNetTrainerPyConvNoMirroring`, `nnUNetTrainerPyConvBN` and so on: for each variant
that the installed nnU-Net has, this module has the class of that name with `nnUNetTrainerPyConv` for `nnUNetTrainer`.
It takes its network from `nnUNetTrainerPyConv` and all else from nnU-Net's class, and is made when first asked for.

The trainers of the other blocks have them alike, for example `nnUNetTrainerPyConvDilated_50epochs`, and of the paper's
recipe there are nnU-Net's training lengths: `nnUNetTrainerPyConvPaper_5epochs`, `nnUNetTrainerPyConvPaperBF16_5epochs`
and so on.

With a teacher there are both, `nnUNetTrainerPyConvDistilled_50epochs`, and `nnUNetTrainerDistilled_50epochs`, whose
network is that of nnU-Net's variant, and likewise with a loss of boundaries, `nnUNetTrainerBoundary_50epochs`.
`nnUNetTrainer_5passes` and so on are nnU-Net's own recipe for as many images as the paper's sees.
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

from nnunet_pyconv.trainers.nnUNetTrainerBoundary import nnUNetTrainerBoundary
from nnunet_pyconv.trainers.nnUNetTrainerDistilled import nnUNetTrainerDistilled
from nnunet_pyconv.trainers.nnUNetTrainerPyConv import nnUNetTrainerPyConv, with_pyconv
from nnunet_pyconv.trainers.nnUNetTrainerPyConvBottleneck import nnUNetTrainerPyConvBottleneck
from nnunet_pyconv.trainers.nnUNetTrainerPyConvBoundary import nnUNetTrainerPyConvBoundary
from nnunet_pyconv.trainers.nnUNetTrainerPyConvDilated import nnUNetTrainerPyConvDilated
from nnunet_pyconv.trainers.nnUNetTrainerPyConvDistilled import nnUNetTrainerPyConvDistilled
from nnunet_pyconv.trainers.nnUNetTrainerPyConvPaper import nnUNetTrainerPyConvPaper
from nnunet_pyconv.trainers.nnUNetTrainerPyConvPaperBF16 import nnUNetTrainerPyConvPaperBF16
from nnunet_pyconv.trainers.nnUNetTrainerPyConvSeparable import nnUNetTrainerPyConvSeparable
from nnunet_pyconv.trainers.passes import trainer_of_passes

_TRAINERS: dict[str, type[nnUNetTrainer]] = {
    trainer.__name__: trainer
    for trainer in (
        nnUNetTrainerBoundary,
        nnUNetTrainerDistilled,
        nnUNetTrainerPyConvBottleneck,
        nnUNetTrainerPyConvBoundary,
        nnUNetTrainerPyConvDilated,
        nnUNetTrainerPyConvDistilled,
        nnUNetTrainerPyConvPaperBF16,
        nnUNetTrainerPyConvPaper,  # after those whose names begin with its own
        nnUNetTrainerPyConvSeparable,
        nnUNetTrainerPyConv,  # the same
    )
}


@functools.cache
def __getattr__(name: str) -> type[nnUNetTrainer]:
    if passes := re.fullmatch(r"nnUNetTrainer_([1-9]\d*)passes", name):
        return trainer_of_passes(int(passes[1]))
    prefix = next((prefix for prefix in _TRAINERS if name.startswith(prefix)), name)
    variant = name.removeprefix(prefix)
    stock = _find("nnUNetTrainer" + variant) if variant else None
    if stock is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    trainer = _TRAINERS[prefix]
    bases: tuple[type, ...]
    if issubclass(trainer, nnUNetTrainerPyConvPaper):
        bases = (stock, trainer)  # the recipe sets a length of its own, and the variant's follows it
    elif issubclass(trainer, nnUNetTrainerPyConv):
        bases = (_with_network_of(stock, trainer), stock)
    else:
        bases = (trainer, stock)
    return type(name, bases, {"__module__": __name__, "__doc__": stock.__doc__})


def _find(name: str) -> type[nnUNetTrainer] | None:
    folder = Path(nnunetv2.__path__[0]) / "training" / "nnUNetTrainer"
    return recursive_find_python_class(str(folder), name, "nnunetv2.training.nnUNetTrainer")


def _with_network_of(stock: type[nnUNetTrainer], trainer: type[nnUNetTrainerPyConv]) -> type[nnUNetTrainerPyConv]:
    class WithNetwork(trainer):  # type: ignore[valid-type, misc]  # a class that is a value
        """Swaps the convolutions of a variant's own network, for example that with batch normalisation."""

        @classmethod
        def build_network_architecture(
            cls,
            plans_manager: PlansManager,
            configuration_manager: ConfigurationManager,
            num_input_channels: int,
            num_output_channels: int,
            enable_deep_supervision: bool = True,
        ) -> nn.Module:
            network = stock.build_network_architecture(
                plans_manager, configuration_manager, num_input_channels, num_output_channels, enable_deep_supervision
            )
            return with_pyconv(network, configuration_manager, cls.block)

    return WithNetwork
