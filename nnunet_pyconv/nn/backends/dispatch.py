"""One entrance to all backends."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import nn

from nnunet_pyconv.nn.backends.choice import choose, compute_dtype
from nnunet_pyconv.nn.backends.fold import folded
from nnunet_pyconv.nn.backends.native.kernel import native_levels
from nnunet_pyconv.nn.backends.spec import LevelSpec
from nnunet_pyconv.nn.backends.triton.backend import triton_levels

Conv = nn.Conv2d | nn.Conv3d


def pyconv(x: torch.Tensor, modules: Iterable[nn.Module]) -> torch.Tensor:
    """Convolve an input with each of some convolutions and concatenate the results along the channels.

    Args:
        x: `(N, C, [Z,] Y, X)`.
        modules: Convolutions that differ in kernel, groups and output channels only.

    Returns:
        `(N, all out_channels, [Z',] Y', X')`.

    Raises:
        ValueError: An backend that was forced and can't run here.
    """
    levels = list(modules)
    chosen = backend_for(x, levels)
    if chosen == "reference":
        return torch.cat([level(x) for level in levels], dim=1)
    convs: list[Conv] = levels  # type: ignore[assignment]  # backend_for has checked
    stride = list(convs[0].stride)
    if chosen == "fold":
        return torch.cat([folded(x, c.weight, c.bias, stride, c.groups) for c in convs], dim=1)
    # Half precision, be it the input's or autocast's, is computed in float32 by the C kernel and rounded once.
    result_type = compute_dtype(x)
    dtype, operator = (torch.float32, native_levels) if chosen == "native" else (result_type, triton_levels)
    y = operator(
        x.to(dtype),
        [c.weight.to(dtype) for c in convs],
        [c.bias.to(dtype) for c in convs if c.bias is not None],
        [c.groups for c in convs],
        stride,
    )
    return y.to(result_type)


def backend_for(x: torch.Tensor, modules: Iterable[nn.Module]) -> str:
    """Tell which backend `pyconv` takes: "native", "fold", "triton" or "reference"."""
    levels = list(modules)
    if _is_recorded(x) or not _is_ordinary(levels):
        return "reference"
    convs: list[Conv] = levels  # type: ignore[assignment]
    return choose(x, [LevelSpec.of(c.weight, c.groups) for c in convs], convs[0].stride)


def _is_recorded(x: torch.Tensor) -> bool:
    """Tell whether the layer is being written down for another runtime, which knows ordinary convolutions only."""
    exporting = getattr(torch.compiler, "is_exporting", None)  # newer than the oldest torch that we support
    return (
        not isinstance(x, torch.Tensor)  # a proxy of torch.fx
        or torch.jit.is_tracing()  # type: ignore[attr-defined, no-untyped-call]
        or torch.onnx.is_in_onnx_export()
        or (exporting is not None and exporting())
    )


def _is_ordinary(levels: list[nn.Module]) -> bool:
    """Tell whether the levels are what an backend may replace: unhooked, undilated "same" convolutions."""
    return all(
        isinstance(level, (nn.Conv2d, nn.Conv3d))
        and type(level) in (nn.Conv2d, nn.Conv3d)  # a subclass may compute something else
        and all(d == 1 for d in level.dilation)
        and level.padding_mode == "zeros"
        and not (level._forward_hooks or level._forward_pre_hooks or level._backward_hooks)
        for level in levels
    )
