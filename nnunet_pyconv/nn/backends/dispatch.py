"""One entrance to all backends."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Sequence

import torch
from torch import nn
from torch._subclasses import FakeTensor

from nnunet_pyconv.nn.backends import contract
from nnunet_pyconv.nn.backends.choice import choose
from nnunet_pyconv.nn.backends.fold import folded
from nnunet_pyconv.nn.backends.native.kernel import native_levels
from nnunet_pyconv.nn.backends.spec import Workload
from nnunet_pyconv.nn.backends.triton.backend import triton_levels

Conv = nn.Conv2d | nn.Conv3d


def pyconv(x: torch.Tensor, modules: Iterable[nn.Module], dim: int, shares: bool = False) -> torch.Tensor:
    """Convolve an input with each of some convolutions and concatenate the results along the channels.

    What a backend is not written for, in the layer or in the input, is left to the modules themselves: then torch
    computes it, or raises.

    Args:
        x: `(N, C, [Z,] Y, X)`, or without N.
        modules: Convolutions that differ in kernel, dilation, groups and channels only.
        dim: Number of spatial axes, 2 or 3.
        shares: Whether each takes the channels that follow those of the one before, instead of all.

    Returns:
        `(N, all out_channels, [Z',] Y', X')`, without N if x has none.

    Raises:
        ValueError: A backend that was forced and can't run here.
    """
    levels = list(modules)
    chosen = backend_for(x, levels, dim, shares)
    if chosen == "reference":
        inputs = _inputs(x, levels, dim, shares)
        return torch.cat([level(each) for level, each in zip(levels, inputs, strict=True)], dim=-1 - dim)
    convs: list[Conv] = levels  # type: ignore[assignment]  # backend_for has checked
    if x.dim() == dim + 1:
        return _by_kernel(chosen, x.unsqueeze(0), convs, shares).squeeze(0)
    return _by_kernel(chosen, x, convs, shares)


def backend_for(x: torch.Tensor, modules: Iterable[nn.Module], dim: int, shares: bool = False) -> str:
    """Tell which backend `pyconv` takes: "native", "fold", "triton" or "reference"."""
    work = workload_of(x, modules, dim, shares)
    return "reference" if work is None else choose(work, x)


def workload_of(x: torch.Tensor, modules: Iterable[nn.Module], dim: int, shares: bool = False) -> Workload | None:
    """Describe what a backend would be asked to compute; None where the reference has to be taken."""
    levels = list(modules)
    if _is_recorded(x) or _is_transformed() or not _is_ordinary(levels, dim):
        return None
    convs: list[Conv] = levels  # type: ignore[assignment]
    weights, biases = [c.weight for c in convs], [c.bias for c in convs if c.bias is not None]
    groups, stride = [c.groups for c in convs], convs[0].stride
    if any(type(tensor) not in _PLAIN for tensor in (x, *weights, *biases)):
        return None
    batch = x.unsqueeze(0) if x.dim() == dim + 1 else x
    geometry = _geometry(convs, shares)
    work = contract.describe(batch, weights, biases, groups, stride, geometry, dtype_of=contract.autocast_dtype)
    return None if isinstance(work, str) else work


def _inputs(x: torch.Tensor, levels: list[nn.Module], dim: int, shares: bool) -> Sequence[torch.Tensor]:
    """Return what each level convolves.

    Raises:
        RuntimeError: Shares of an input of another number of axes or channels, as a convolution of torch has it.
    """
    if not shares:
        return [x] * len(levels)
    sizes: list[int] = [level.in_channels for level in levels]  # type: ignore[misc]  # of convolutions
    if isinstance(x, torch.Tensor) and (x.dim() not in (dim + 1, dim + 2) or x.shape[-1 - dim] != sum(sizes)):
        raise RuntimeError(f"expected an input of {dim + 1} or {dim + 2} axes and {sum(sizes)} channels, got {x.shape}")
    return torch.split(x, sizes, dim=-1 - dim)


def _geometry(convs: list[Conv], shares: bool) -> list[int]:
    """Return the geometry of the levels, see `levels_of`."""
    if not shares and all(max(conv.dilation) == 1 for conv in convs):
        return []
    firsts = [0] * len(convs)
    if shares:
        firsts[1:] = itertools.accumulate(conv.in_channels for conv in convs[:-1])
    return [n for first, conv in zip(firsts, convs, strict=True) for n in (first, *conv.dilation)]


def _by_kernel(chosen: str, x: torch.Tensor, convs: list[Conv], shares: bool) -> torch.Tensor:
    stride = list(convs[0].stride)
    if chosen == "fold":
        return torch.cat([folded(x, c.weight, c.bias, stride, c.groups, c.dilation) for c in convs], dim=1)
    # Half precision, be it the input's or autocast's, is computed in float32 by the C kernel and rounded once.
    result_type = contract.autocast_dtype(x)
    dtype, operator = (torch.float32, native_levels) if chosen == "native" else (result_type, triton_levels)
    y = operator(
        x.to(dtype),
        [c.weight.to(dtype) for c in convs],
        [c.bias.to(dtype) for c in convs if c.bias is not None],
        [c.groups for c in convs],
        stride,
        _geometry(convs, shares),
    )
    return y.to(result_type)


_PLAIN = (torch.Tensor, nn.Parameter, FakeTensor)
"""Tensors that are no more than their values; what another subclass computes is its own business."""


def _is_recorded(x: torch.Tensor) -> bool:
    """Tell whether the layer is being written down for another runtime, which knows ordinary convolutions only."""
    return (
        not isinstance(x, torch.Tensor)  # a proxy of torch.fx
        or torch.jit.is_tracing()  # type: ignore[attr-defined, no-untyped-call]
        or torch.onnx.is_in_onnx_export()
        or _is_exporting()
    )


# Where torch.compile of torch 2.11 traces the question itself, the answer is always yes.
@torch.compiler.assume_constant_result  # type: ignore[untyped-decorator]
def _is_exporting() -> bool:
    exporting = getattr(torch.compiler, "is_exporting", None)  # newer than the oldest torch that we support
    return exporting is not None and exporting()


# torch.compile takes the answer as it is; graphs under other transforms it keeps apart by itself.
@torch.compiler.assume_constant_result  # type: ignore[untyped-decorator]
def _is_transformed() -> bool:
    """Tell whether torch.func (jvp, vmap, grad) or forward-mode differentiation is at work; kernels know neither."""
    return contract.in_forward_mode() or torch._C._functorch.peek_interpreter_stack() is not None


def _is_ordinary(levels: list[nn.Module], dim: int) -> bool:
    """Tell whether the levels are what a backend may replace: unhooked "same" convolutions.

    They may differ in kernel, dilation, groups and channels only, also where a level was changed by hand. Hooks on
    all modules are those of profilers, which want to see what runs otherwise.
    """
    convolution = nn.Conv2d if dim == 2 else nn.Conv3d
    return len(levels) > 0 and all(
        type(level) is convolution  # a subclass may compute something else
        and "forward" not in level.__dict__  # by name: torch 2.4 can't trace `vars`
        and level.stride == levels[0].stride
        and level.padding == _same_padding(level)
        and level.padding_mode == "zeros"
        and (level.bias is None) == (levels[0].bias is None)
        and not (level._forward_hooks or level._forward_pre_hooks)
        and not (level._backward_hooks or level._backward_pre_hooks)
        for level in levels
    )


def _same_padding(level: nn.Conv2d | nn.Conv3d) -> tuple[int, ...]:
    # an older torch.compile can't trace a strict zip
    return tuple(d * (k // 2) for k, d in zip(level.weight.shape[2:], level.dilation, strict=False))
