"""How a design is written in a command and in the rows: `dilated-w0.5-s5`, the block, the width and the stages."""

from __future__ import annotations

import re

from nnunet_pyconv.errors import InputError
from nnunet_pyconv.names import PLANNED_BLOCKS
from nnunet_pyconv.planning import Design

_NAME = re.compile(r"(?P<block>[a-z]+)(-w(?P<width>[0-9.]+))?(-s(?P<stages>[0-9]+))?")


def parse_design(name: str) -> Design:
    """Read the name of a design.

    Raises:
        InputError: It is not such a name, or there is no such design.
    """
    found = _NAME.fullmatch(name)
    if found is None or found["block"] not in PLANNED_BLOCKS:
        raise InputError(
            f"design {name!r}: expected a block ({', '.join(PLANNED_BLOCKS)}), perhaps with a width and a number of "
            "stages, for example stock, dilated-w0.5 or plain-w0.5-s5"
        )
    stages = None if found["stages"] is None else int(found["stages"])
    return Design(found["block"], float(found["width"] or 1), stages)  # type: ignore[arg-type]  # checked above


def design_name(design: Design) -> str:
    """Return the name that `parse_design` reads."""
    width = "" if design.width == 1 else f"-w{design.width:g}"
    return f"{design.block}{width}" + ("" if design.stages is None else f"-s{design.stages}")
