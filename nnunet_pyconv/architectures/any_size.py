"""Let a network that halves its feature maps take images of any size."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F  # noqa: N812  # torch's own habit


def pad_to_multiple(x: torch.Tensor, multiple: Sequence[int]) -> torch.Tensor:
    """Pad an image with zeros behind its last row and column, as far as a network needs.

    Args:
        x: `(N, C, [Z,] Y, X)`.
        multiple: What each spatial edge must be a multiple of.

    Returns:
        The image, padded by less than `multiple`; the same tensor where nothing is missing.
    """
    missing = [-edge % m for edge, m in zip(x.shape[2:], multiple, strict=True)]
    if not any(missing):
        return x
    return F.pad(x, [amount for axis in reversed(missing) for amount in (0, axis)])


def crop_to(y: torch.Tensor, size: Sequence[int]) -> torch.Tensor:
    """Undo `pad_to_multiple`.

    Args:
        y: `(N, C, [Z',] Y', X')`.
        size: Spatial edges to keep, none larger than those of `y`.

    Returns:
        `(N, C, *size)`.
    """
    window = (slice(None), slice(None), *(slice(edge) for edge in size))
    return y[window]
