"""What a network in plans is to become: which block takes the place of a convolution, how wide, how deep."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from copy import deepcopy
from dataclasses import asdict, dataclass
from typing import Any, Literal

from nnunet_pyconv.architectures import PYCONV_CLASSES
from nnunet_pyconv.errors import InputError
from nnunet_pyconv.names import PARTS, PLANNED_BLOCKS, STOCK, Block, Part
from nnunet_pyconv.nn import Pyramid, pyramid_per_stage
from nnunet_pyconv.nn.blocks import default_pyramid

LEAST_STAGES = 3
"""A network has an output for each stage but the deepest, and nnU-Net's deep supervision leaves the lowest one out."""
_MULTIPLE = 4
_PER_STAGE = ("features_per_stage", "kernel_sizes", "strides", "n_conv_per_stage", "n_blocks_per_stage")


@dataclass(frozen=True)
class Design:
    """What becomes of a network of nnU-Net's plans.

    Attributes:
        block: What takes the place of a convolution; "stock" leaves it as it is.
        width: The features of each stage as a multiple of those of the source plans, rounded to multiples of 4, so
            that a pyramid of four levels has equal shares; at least 4.
        max_features: The most features of a stage, after `width`; None: no limit but that of the source plans. The
            deep stages, which have the most, hold most of a network's parameters and take little of its time.
        stages: Number of the encoder's stages; None keeps all. The deepest, of the lowest resolution, are left out.
        pyramid_stages: Number of stages with the block, from full resolution down; in the deeper ones the convolutions
            stay as they are. None: all.
        levels: The most levels of a pyramid, from the smallest reach up; None: all of the block.
        part: Where the block takes the place of convolutions: in the whole network, in the encoder, or in the decoder.

    Raises:
        InputError: An unknown block or part, a width that is not positive, less than four features, fewer than three
            stages, no stage or level with a block, or a choice of pyramids for the stock network, which has none.
    """

    block: Block | Literal["stock"] = "plain"
    width: float = 1.0
    max_features: int | None = None
    stages: int | None = None
    pyramid_stages: int | None = None
    levels: int | None = None
    part: Part = "network"

    def __post_init__(self) -> None:
        if self.block not in PLANNED_BLOCKS:
            raise InputError(f"-block {self.block} is unknown; expected one of {', '.join(PLANNED_BLOCKS)}")
        if not (math.isfinite(self.width) and self.width > 0):
            raise InputError(
                f"-width {self.width:g}: expected a positive number, for example 0.5 for half the features"
            )
        if self.max_features is not None and self.max_features < _MULTIPLE:
            raise InputError(f"-max_features {self.max_features}: expected at least {_MULTIPLE}, a channel a level")
        if self.stages is not None and self.stages < LEAST_STAGES:
            raise InputError(
                f"-stages {self.stages}: expected at least {LEAST_STAGES}, for nnU-Net's loss leaves out the lowest "
                "output, and of two stages that is the only one"
            )
        for option, value in (("-pyramid_stages", self.pyramid_stages), ("-levels", self.levels)):
            if value is not None and value < 1:
                raise InputError(f"{option} {value}: expected at least 1")
        if self.part not in PARTS:
            raise InputError(f"-part {self.part} is unknown; expected one of {', '.join(PARTS)}")
        if self.block == STOCK and (self.pyramid_stages, self.levels, self.part) != (None, None, "network"):
            raise InputError(
                "-block stock leaves all convolutions as they are; give none of -pyramid_stages, -levels and -part "
                "with it"
            )

    @property
    def plans_name(self) -> str:
        """Name of plans with this network, for example `nnUNetPyConvDilatedWidth0.5Plans`."""
        name = {"plain": "PyConv", STOCK: "Stock"}.get(self.block, f"PyConv{self.block.capitalize()}")
        width = "" if self.width == 1 else f"Width{self.width:g}"
        max_features = "" if self.max_features is None else f"MaxFeatures{self.max_features}"
        stages = "" if self.stages is None else f"Stages{self.stages}"
        pyramid_stages = "" if self.pyramid_stages is None else f"PyramidStages{self.pyramid_stages}"
        levels = "" if self.levels is None else f"Levels{self.levels}"
        part = "" if self.part == "network" else self.part.capitalize()
        return f"nnUNet{name}{width}{max_features}{stages}{pyramid_stages}{levels}{part}Plans"

    def to_json(self) -> dict[str, Any]:
        """Return the attributes, as plans that were made by this design carry them."""
        return asdict(self)

    def architecture(self, architecture: Mapping[str, Any], patch_size: Sequence[int]) -> dict[str, Any]:
        """Return the entry `architecture` of a configuration for this design.

        Args:
            architecture: Of nnU-Net's plans, with one of the networks of `PYCONV_CLASSES`; it stays as it is.
            patch_size: The patch that the network sees, in pixels.

        Raises:
            InputError: Another network, or more stages, or more with pyramids, than there are.
        """
        # older plans have the same class under another module, so the name alone decides
        class_name = architecture["network_class_name"].rpartition(".")[2]
        if class_name not in PYCONV_CLASSES:
            raise InputError(
                f"the plans name the network {architecture['network_class_name']}, whose convolutions can't be "
                f"swapped; expected one of {', '.join(PYCONV_CLASSES)}. Give plans with one of them with -p"
            )
        designed = deepcopy(dict(architecture))
        arch_kwargs = designed["arch_kwargs"] = self._resized(designed["arch_kwargs"])
        if self.block != STOCK:
            swapped = PYCONV_CLASSES[class_name]
            designed["network_class_name"] = f"{swapped.__module__}.{swapped.__qualname__}"
            pyramids = pyramids_for(patch_size, arch_kwargs, self.block, self.levels)
            if (n := self.pyramid_stages) is not None:
                if n > len(pyramids):
                    raise InputError(f"-pyramid_stages {n}: the network has {len(pyramids)} stages; give no more")
                pyramids[n:] = [None] * (len(pyramids) - n)
            if self.part == "decoder":
                pyramids[-1] = None  # the decoder begins above the deepest stage
            arch_kwargs["pyramid"] = pyramids
            if self.block != "plain":
                arch_kwargs["block"] = self.block
            if self.part != "network":
                arch_kwargs["part"] = self.part
        return designed

    def _resized(self, arch_kwargs: dict[str, Any]) -> dict[str, Any]:
        features = arch_kwargs["features_per_stage"]
        stages = self.stages or len(features)
        if stages > len(features):
            raise InputError(
                f"-stages {stages}: the network of the plans has {len(features)} stages, and none can be added, since "
                "its feature map would become too small; give fewer"
            )
        resized = {**arch_kwargs, "n_stages": stages}
        resized |= {name: list(arch_kwargs[name])[:stages] for name in _PER_STAGE if name in arch_kwargs}
        if "n_conv_per_stage_decoder" in arch_kwargs:
            resized["n_conv_per_stage_decoder"] = list(arch_kwargs["n_conv_per_stage_decoder"])[: stages - 1]
        if self.width != 1:
            resized["features_per_stage"] = [
                max(_MULTIPLE, _MULTIPLE * round(each * self.width / _MULTIPLE))
                for each in resized["features_per_stage"]
            ]
        if self.max_features is not None:
            resized["features_per_stage"] = [min(each, self.max_features) for each in resized["features_per_stage"]]
        return resized


def pyramids_for(
    patch_size: Sequence[int], arch_kwargs: Mapping[str, Any], block: Block = "plain", levels: int | None = None
) -> list[dict[str, Any] | None]:
    """Return the entry `pyramid` of a network's `arch_kwargs`: a pyramid for each stage, as JSON.

    Args:
        patch_size: The patch that the network sees, in pixels.
        arch_kwargs: Of the plans; strides, kernels and features of each stage.
        block: As for `nn.convert_to_pyconv`.
        levels: The most levels of a pyramid; None: all of the block.
    """
    pyramid = default_pyramid(block)
    if levels is not None:
        pyramid = pyramid.smallest(levels)
    strides, kernel_sizes, features = (arch_kwargs[name] for name in ("strides", "kernel_sizes", "features_per_stage"))
    per_stage = pyramid_per_stage(patch_size, strides, kernel_sizes, features, pyramid, block=block)
    return [each.to_json() for each in per_stage]


@dataclass(frozen=True)
class Stage:
    """A stage of a planned network.

    Attributes:
        features: Output channels.
        pyramid: The pyramid of its convolutions; None where they are nnU-Net's own.
    """

    features: int
    pyramid: Pyramid | None


def stages_of(architecture: Mapping[str, Any]) -> tuple[Stage, ...]:
    """Return the stages of the network of a configuration, full resolution first."""
    arch_kwargs = architecture["arch_kwargs"]
    features = arch_kwargs["features_per_stage"]
    pyramids = arch_kwargs.get("pyramid") or [None] * len(features)
    return tuple(
        Stage(int(each), None if pyramid is None else Pyramid.from_json(pyramid))
        for each, pyramid in zip(features, pyramids, strict=True)
    )
