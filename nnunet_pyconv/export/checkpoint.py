"""Loading nnU-Net's checkpoints without executing code that they may hold."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch

from nnunet_pyconv.errors import InputError

_OF_NUMPY = [
    (np._core.multiarray.scalar, "numpy.core.multiarray.scalar"),  # type: ignore[attr-defined]  # its name in NumPy 1
    np._core.multiarray.scalar,  # type: ignore[attr-defined]
    np.dtype,
    *(type(np.dtype(kind)) for kind in "fdqlib?"),
]
"""What the numbers in nnU-Net's logs are made of, beside tensors and plain Python."""


def load_checkpoint(file: Path) -> dict[str, Any]:
    """Load a checkpoint of nnU-Net.

    Raises:
        InputError: A file that can't be read, is no checkpoint of nnU-Net, or holds code.
    """
    try:
        with torch.serialization.safe_globals(_OF_NUMPY):
            content: dict[str, Any] = torch.load(file, map_location="cpu", weights_only=True)
        if missing := {"network_weights", "trainer_name", "init_args", "current_epoch"} - content.keys():
            raise KeyError(*sorted(missing))
    except Exception as error:  # torch and pickle raise many kinds
        raise InputError(
            f"{file} is no checkpoint of nnU-Net, or holds more than weights and numbers ({error!r:.300}); train "
            "again, or choose another with -chk"
        ) from error
    return content
