"""Which device the network runs on."""

from __future__ import annotations

import torch

from nnunet_pyconv.errors import InputError


def available_devices() -> list[str]:
    """The devices that torch sees, the fastest first; `cpu` is always among them."""
    cuda = ["cuda"] if torch.cuda.is_available() else []
    mps = ["mps"] if torch.backends.mps.is_available() else []
    return [*cuda, *mps, "cpu"]


def pick_device(name: str | None) -> torch.device:
    """Return the device of that name, or the fastest if none is named.

    Raises:
        InputError: A device that this machine lacks.
    """
    available = available_devices()
    if name is not None and name not in available:
        raise InputError(
            f"-device {name}: torch {torch.__version__} sees no such device here, only {', '.join(available)}"
        )
    return torch.device(name or available[0])
