"""How a design is written in a command and in the rows: `dilated-w0.5-s5`, the block and what else differs."""

from __future__ import annotations

import re

from nnunet_pyconv.errors import InputError
from nnunet_pyconv.names import PLANNED_BLOCKS
from nnunet_pyconv.planning import Design

_NAME = re.compile(
    r"(?P<block>[a-z]+)(-w(?P<width>[0-9.]+))?(-s(?P<stages>[0-9]+))?"
    r"(-p(?P<pyramid_stages>[0-9]+))?(-l(?P<levels>[0-9]+))?(-(?P<part>encoder|decoder))?"
)


def parse_design(name: str) -> Design:
    """Read the name of a design.

    Raises:
        InputError: It is not such a name, or there is no such design.
    """
    found = _NAME.fullmatch(name)
    if found is None or found["block"] not in PLANNED_BLOCKS:
        raise InputError(
            f"design {name!r}: expected a block ({', '.join(PLANNED_BLOCKS)}), perhaps with a width, a number of "
            "stages, a number of stages with pyramids, a number of levels, and encoder or decoder, for example stock, "
            "dilated-w0.5, plain-w0.5-s5 or dilated-w0.5-s5-p2-l3-decoder"
        )
    stages, pyramid_stages, levels = (
        None if found[name] is None else int(found[name]) for name in ("stages", "pyramid_stages", "levels")
    )
    return Design(
        found["block"],  # type: ignore[arg-type]  # checked above
        float(found["width"] or 1),
        stages,
        pyramid_stages,
        levels,
        found["part"] or "network",  # type: ignore[arg-type]  # by the expression
    )


def design_name(design: Design) -> str:
    """Return the name that `parse_design` reads."""
    width = "" if design.width == 1 else f"-w{design.width:g}"
    numbers = (("s", design.stages), ("p", design.pyramid_stages), ("l", design.levels))
    part = "" if design.part == "network" else f"-{design.part}"
    return f"{design.block}{width}" + "".join(f"-{letter}{n}" for letter, n in numbers if n is not None) + part
