"""Pyramidal convolutions (PyConv) for a stock nnU-Net v2.

The layer, the networks and the trainers can be imported from here. They are loaded at their first use, so that
`import nnunet_pyconv` imports neither PyTorch nor nnU-Net.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from nnunet_pyconv.architectures import (
        AttentionUNet,
        FCN8s,
        MultiResUNet,
        PaperPyConvUNet,
        PyConvResidualEncoderUNet,
        PyConvUNet,
        ResNet34UNet,
        UNet,
        UNetPlusPlus,
    )
    from nnunet_pyconv.nn import PyConv2d, PyConv3d, PyConvBottleneck, PyConvSeparable, Pyramid, convert_to_pyconv
    from nnunet_pyconv.trainers.nnUNetTrainerBoundary import nnUNetTrainerBoundary
    from nnunet_pyconv.trainers.nnUNetTrainerDistilled import nnUNetTrainerDistilled
    from nnunet_pyconv.trainers.nnUNetTrainerPyConv import nnUNetTrainerPyConv
    from nnunet_pyconv.trainers.nnUNetTrainerPyConvBottleneck import nnUNetTrainerPyConvBottleneck
    from nnunet_pyconv.trainers.nnUNetTrainerPyConvBoundary import nnUNetTrainerPyConvBoundary
    from nnunet_pyconv.trainers.nnUNetTrainerPyConvDilated import nnUNetTrainerPyConvDilated
    from nnunet_pyconv.trainers.nnUNetTrainerPyConvDistilled import nnUNetTrainerPyConvDistilled
    from nnunet_pyconv.trainers.nnUNetTrainerPyConvPaper import nnUNetTrainerPyConvPaper
    from nnunet_pyconv.trainers.nnUNetTrainerPyConvPaperBF16 import nnUNetTrainerPyConvPaperBF16
    from nnunet_pyconv.trainers.nnUNetTrainerPyConvSeparable import nnUNetTrainerPyConvSeparable

__version__ = "0.1.0"

__all__ = [
    "AttentionUNet",
    "FCN8s",
    "MultiResUNet",
    "PaperPyConvUNet",
    "PyConv2d",
    "PyConv3d",
    "PyConvBottleneck",
    "PyConvResidualEncoderUNet",
    "PyConvSeparable",
    "PyConvUNet",
    "Pyramid",
    "ResNet34UNet",
    "UNet",
    "UNetPlusPlus",
    "convert_to_pyconv",
    "nnUNetTrainerBoundary",
    "nnUNetTrainerDistilled",
    "nnUNetTrainerPyConv",
    "nnUNetTrainerPyConvBottleneck",
    "nnUNetTrainerPyConvBoundary",
    "nnUNetTrainerPyConvDilated",
    "nnUNetTrainerPyConvDistilled",
    "nnUNetTrainerPyConvPaper",
    "nnUNetTrainerPyConvPaperBF16",
    "nnUNetTrainerPyConvSeparable",
]

_PACKAGES = ("nn", "architectures", "trainers")  # in which the names of __all__ are looked up, the lightest first


def __getattr__(name: str) -> object:
    if name in __all__:
        for package in _PACKAGES:
            module = importlib.import_module(f"{__name__}.{package}")
            if name in module.__all__:
                return getattr(module, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
