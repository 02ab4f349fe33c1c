"""nnU-Net's U-Nets with pyramidal convolutions, under class names that plans files can carry."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from dynamic_network_architectures.architectures.unet import PlainConvUNet, ResidualEncoderUNet
from torch import nn

from nnunet_pyconv.nn import Pyramid, convert_to_pyconv


class PyConvUNet(PlainConvUNet):
    """nnU-Net's plain U-Net whose k x k convolutions are pyramidal.

    Args:
        *args: As for `PlainConvUNet`.
        pyramid: Specification for each stage, full resolution first, as `Pyramid.to_json` gives it and plans carry
            it in `arch_kwargs`; None gives every stage kernels 3, 5, 7, 9.
        **kwargs: As for `PlainConvUNet`.

    Raises:
        ValueError: A pyramid that is not valid, or not one for each stage.
    """

    def __init__(self, *args: Any, pyramid: Sequence[Mapping[str, Any]] | None = None, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        convert_to_pyconv(self, _from_plans(pyramid))


class PyConvResidualEncoderUNet(ResidualEncoderUNet):
    """nnU-Net's residual encoder U-Net whose k x k convolutions are pyramidal.

    Both convolutions of a block and the stem are swapped; the 1 x 1 projections of the skips stay.

    Args:
        *args: As for `ResidualEncoderUNet`.
        pyramid: As for `PyConvUNet`.
        **kwargs: As for `ResidualEncoderUNet`.

    Raises:
        ValueError: A pyramid that is not valid, or not one for each stage.
    """

    def __init__(self, *args: Any, pyramid: Sequence[Mapping[str, Any]] | None = None, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        convert_to_pyconv(self, _from_plans(pyramid))


PYCONV_CLASSES: dict[str, type[nn.Module]] = {
    "PlainConvUNet": PyConvUNet,
    "ResidualEncoderUNet": PyConvResidualEncoderUNet,
}
"""The class with pyramidal convolutions for each class that nnU-Net's planners put into plans."""


def _from_plans(pyramid: Sequence[Mapping[str, Any]] | None) -> Pyramid | list[Pyramid]:
    return Pyramid() if pyramid is None else [Pyramid.from_json(stage) for stage in pyramid]
