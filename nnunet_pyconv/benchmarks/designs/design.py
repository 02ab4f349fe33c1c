"""A network design: which block in the place of each convolution, how wide, how deep."""

from __future__ import annotations

import re
from dataclasses import dataclass

from nnunet_pyconv.errors import InputError

_NAME = re.compile(r"(?P<block>[a-z]+)(-w(?P<width>[0-9.]+))?(-s(?P<stages>[0-9]+))?")


@dataclass(frozen=True)
class Design:
    """A design, written as `dilated-w0.5-s5`: the block, the width and the number of stages.

    Attributes:
        block: `stock` for nnU-Net's own convolutions, or a block of `nnunet_pyconv plan -block`.
        width: Factor on the features of every stage.
        stages: Number of stages; None for as many as nnU-Net plans.
    """

    block: str
    width: float = 1.0
    stages: int | None = None

    @classmethod
    def parse(cls, name: str) -> Design:
        """Read the name of a design.

        Raises:
            InputError: It is not such a name.
        """
        found = _NAME.fullmatch(name)
        if found is None or found["block"] not in BLOCKS:
            raise InputError(
                f"design {name!r}: expected a block ({', '.join(BLOCKS)}), perhaps with a width and a number of stages, "
                "for example stock, dilated-w0.5 or plain-w0.5-s5"
            )
        stages = None if found["stages"] is None else int(found["stages"])
        return cls(found["block"], float(found["width"] or 1), stages)

    def __str__(self) -> str:
        width = "" if self.width == 1 else f"-w{self.width:g}"
        return f"{self.block}{width}" + ("" if self.stages is None else f"-s{self.stages}")


BLOCKS = ("stock", "plain", "bottleneck", "dilated", "separable")
