"""What each design costs, as `nnunet_pyconv benchmark runtimes` has measured it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from nnunet_pyconv.errors import InputError

RUNTIMES = ("PyTorch", "ONNX Runtime", "OpenVINO")


@dataclass(frozen=True)
class DesignCost:
    """The cost of a design.

    Attributes:
        parameters_m: Parameters, in millions.
        gmac: Multiplications for one patch, in 10^9.
        step: Time of a training step, as a multiple of the stock network's.
        peak: Peak memory of a training step, likewise; None where it wasn't measured.
        times: For each of `RUNTIMES` the time of an inference, as a multiple of the stock network's.
    """

    parameters_m: float
    gmac: float
    step: float
    peak: float | None
    times: Mapping[str, float]


def read_costs(file: Path) -> dict[str, DesignCost]:
    """Read `runtimes.json`; the costs under the names of the designs.

    Raises:
        InputError: The file isn't there, or isn't one that `benchmark runtimes -o` writes.
    """
    try:
        (table,) = json.loads(file.read_text("utf-8"))["tables"]
        return {
            row["design"]: DesignCost(
                row["parameters, M"],
                row["GMac"],
                row["step / stock"]["ratio"],
                row["peak / stock"],
                {runtime: row[f"{runtime} / stock"]["ratio"] for runtime in RUNTIMES},
            )
            for row in table["rows"]
        }
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InputError(
            f"--costs {file} can't be read ({type(error).__name__}: {error}); expected the runtimes.json that "
            "`nnunet_pyconv benchmark runtimes --designs ... -o DIR` writes"
        ) from error
