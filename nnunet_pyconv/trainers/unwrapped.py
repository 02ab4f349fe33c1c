"""The network itself, without what nnU-Net puts around it."""

from __future__ import annotations

from torch import nn


def unwrapped(network: nn.Module | None) -> nn.Module:
    """Return a trainer's network without DistributedDataParallel and torch.compile.

    Raises:
        ValueError: No network: the trainer is not initialised yet.
    """
    if network is None:
        raise ValueError("the trainer has no network yet; call initialize() first")
    for wrapper in ("module", "_orig_mod"):  # of DistributedDataParallel and of torch.compile
        network = getattr(network, wrapper, network)
    return network
