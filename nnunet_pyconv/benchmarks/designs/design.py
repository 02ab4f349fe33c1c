"""The networks that are compared, and how they are written in a command and in the rows: `dilated-w0.5-s5`."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from nnunet_pyconv.benchmarks.designs.additions import ADDITIONS, Addition, PyConvUNetWithAddition
from nnunet_pyconv.benchmarks.plans import plan
from nnunet_pyconv.errors import InputError
from nnunet_pyconv.names import PLANNED_BLOCKS
from nnunet_pyconv.planning import Design

_NAME = re.compile(
    r"(?P<block>[a-z]+)(-w(?P<width>[0-9]+(?:\.[0-9]+)?))?(-m(?P<max_features>[0-9]+))?(-s(?P<stages>[0-9]+))?"
    r"(-p(?P<pyramid_stages>[0-9]+))?(-l(?P<levels>[0-9]+))?(-(?P<part>encoder|decoder))?"
    rf"(-(?P<addition>{'|'.join(ADDITIONS)})|(?P<resenc>-resenc))?"
)


@dataclass(frozen=True)
class ComparedDesign:
    """A design, and which of nnU-Net's networks it changes.

    Attributes:
        design: What becomes of the network.
        residual_encoder: Whether the network is that of nnU-Net's `ResEncUNetPlanner`, instead of the default one.
        addition: What is around the convolutions of the default network; None for nothing.

    Raises:
        InputError: An addition to a residual encoder, or interleaved channels before another block than plain.
    """

    design: Design
    residual_encoder: bool = False
    addition: Addition | None = None

    def __post_init__(self) -> None:
        if self.residual_encoder and self.addition is not None:
            raise InputError(f"-{self.addition} is for the default network; leave out -resenc")
        if self.addition == "interleaved" and self.design.block != "plain":
            raise InputError(f"-interleaved is for the groups of plain; leave it out of {self.design.block}")

    @property
    def name(self) -> str:
        """The name that `parse_design` reads."""
        design = self.design
        width = "" if design.width == 1 else f"-w{design.width:g}"
        numbers = {
            "m": design.max_features,
            "s": design.stages,
            "p": design.pyramid_stages,
            "l": design.levels,
        }
        part = "" if design.part == "network" else f"-{design.part}"
        resenc = "-resenc" if self.residual_encoder else ""
        limits = "".join(f"-{letter}{n}" for letter, n in numbers.items() if n is not None)
        addition = "" if self.addition is None else f"-{self.addition}"
        return f"{design.block}{width}{limits}{part}{addition}{resenc}"

    def architecture(self, patch_size: Sequence[int]) -> dict[str, Any]:
        """Return the entry `architecture` of plans for this patch, in pixels.

        Raises:
            InputError: A patch that nnU-Net wouldn't plan, or more stages than the network has.
        """
        stock = plan(patch_size, residual_encoder=self.residual_encoder)
        planned = stock.plans["configurations"][stock.configuration]["architecture"]
        architecture = self.design.architecture(planned, patch_size)
        if self.addition is not None:
            arch_kwargs = architecture["arch_kwargs"]
            arch_kwargs.setdefault("pyramid", [None] * arch_kwargs["n_stages"])  # of the stock network
            arch_kwargs["addition"] = self.addition
            architecture["network_class_name"] = (
                f"{PyConvUNetWithAddition.__module__}.{PyConvUNetWithAddition.__name__}"
            )
        return architecture


def parse_design(name: str) -> ComparedDesign:
    """Read the name of a design.

    Raises:
        InputError: It is not such a name, or there is no such design.
    """
    found = _NAME.fullmatch(name)
    width = float(found["width"] or 1) if found else 1.0
    # rows have the name that is made of the width again
    if found is None or found["block"] not in PLANNED_BLOCKS or float(f"{width:g}") != width or "e" in f"{width:g}":
        raise InputError(
            f"design {name!r}: expected a block ({', '.join(PLANNED_BLOCKS)}), perhaps with a width of at most six "
            "digits, the most features of a stage, a number of stages, of stages with pyramids and of levels, encoder "
            f"or decoder, and {', '.join(ADDITIONS)} or resenc, for example stock, dilated-w0.5, plain-w0.5-s5, "
            "stock-w0.5-resenc or dilated-w0.5-m128-s5-p2-l3-decoder-grn"
        )
    limits = {
        limit: None if found[limit] is None else int(found[limit])
        for limit in ("max_features", "stages", "pyramid_stages", "levels")
    }
    design = Design(
        block=found["block"],  # type: ignore[arg-type]  # checked above
        width=width,
        part=found["part"] or "network",  # type: ignore[arg-type]  # by the expression
        **limits,
    )
    addition: Addition | None = found["addition"]  # type: ignore[assignment]  # by the expression
    return ComparedDesign(design, found["resenc"] is not None, addition)
