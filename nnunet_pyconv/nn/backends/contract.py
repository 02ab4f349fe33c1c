"""What a pyramidal convolution demands of its arguments: what torch's own convolution demands of them.

The operators of all backends and their fake kernels refuse by these checks, with torch's type of error, before any
pointer is taken. A layer that these checks refuse is left to torch, level by level, so that torch itself raises.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence

import torch
from torch.autograd import forward_ad

from nnunet_pyconv.nn.backends.spec import Workload, levels_of
from nnunet_pyconv.nn.level import Level

Tensors = Sequence[torch.Tensor]
DtypeOf = Callable[[torch.Tensor], torch.dtype]


def own_dtype(tensor: torch.Tensor) -> torch.dtype:
    """Return the dtype of a tensor: that in which it takes part in an operator of ours."""
    return tensor.dtype


def autocast_dtype(tensor: torch.Tensor) -> torch.dtype:
    """Return the dtype in which a tensor takes part in a convolution of torch: that of autocast, or its own."""
    device = tensor.device.type
    if not _knows_autocast(device) or not torch.is_autocast_enabled(device):
        return tensor.dtype
    changed = tensor.is_floating_point() and tensor.dtype != torch.float64
    return torch.get_autocast_dtype(device) if changed else tensor.dtype


# A constant of a device: torch.compile of torch 2.11 can't trace the question.
@torch.compiler.assume_constant_result  # type: ignore[untyped-decorator]
def _knows_autocast(device_type: str) -> bool:
    return torch.amp.is_autocast_available(device_type)


def describe(
    x: torch.Tensor,
    weights: Tensors,
    biases: Tensors,
    groups: Sequence[int],
    stride: Sequence[int],
    geometry: Sequence[int] = (),
    dtype_of: DtypeOf = own_dtype,
) -> Workload | str:
    """Describe a layer and its input, or say what is wrong with them.

    Args:
        x: Should be `(N, C, [Z,] Y, X)`; N may be 0.
        weights: Should be `(out_channels, C / groups, [KZ,] KY, KX)` for each level, with odd kernels.
        biases: Should be empty, or `(out_channels,)` for each level.
        groups: Should be one number a level.
        stride: Should be one number an axis.
        geometry: Should be empty, or as for `levels_of`; either all levels have all channels, or each begins where the
            one before ends.
        dtype_of: The dtype in which a tensor takes part, `own_dtype` or `autocast_dtype`.
    """
    levels = _levels(x.shape, weights, biases, groups, stride, geometry)
    if isinstance(levels, str):
        return levels
    wrong = _wrong_kind(x, [*weights, *biases], dtype_of)
    return wrong or Workload(tuple(x.shape), dtype_of(x), x.device, levels, tuple(stride))


def describe_input_gradient(
    gradient: torch.Tensor,
    weights: Tensors,
    groups: Sequence[int],
    stride: Sequence[int],
    x_size: Sequence[int],
    geometry: Sequence[int],
) -> Workload | str:
    """Do the same for the gradient of an output for an input of such a size."""
    levels = _levels(x_size, weights, (), groups, stride, geometry)
    if isinstance(levels, str):
        return levels
    work = Workload(tuple(x_size), gradient.dtype, gradient.device, levels, tuple(stride))
    return _wrong_gradient(gradient, work) or _wrong_kind(gradient, weights) or work


def describe_weight_gradient(
    gradient: torch.Tensor,
    x: torch.Tensor,
    weights: Tensors,
    groups: Sequence[int],
    stride: Sequence[int],
    geometry: Sequence[int],
) -> Workload | str:
    """Do the same for the gradient of an output, and the input."""
    levels = _levels(x.shape, weights, (), groups, stride, geometry)
    if isinstance(levels, str):
        return levels
    work = Workload(tuple(x.shape), x.dtype, x.device, levels, tuple(stride))
    return _wrong_gradient(gradient, work) or _wrong_kind(gradient, [x, *weights]) or work


def checked(work: Workload | str) -> Workload:
    """Return a description.

    Raises:
        RuntimeError: It says what is wrong; torch's convolution raises that type.
        NotImplementedError: Tensors may carry tangents, which a kernel would drop. The layer itself takes torch's
            convolutions there.
    """
    if in_forward_mode():
        raise NotImplementedError(
            "the operators of PyConv's backends have no forward-mode derivative (torch.func.jvp); call the layer "
            "itself, which takes torch's own convolutions there"
        )
    if isinstance(work, str):
        raise RuntimeError(f"PyConv: {work}")
    return work


def in_forward_mode() -> bool:
    """Tell whether tensors may carry tangents, see torch.autograd.forward_ad."""
    return forward_ad._current_level >= 0


def _levels(
    x_size: Sequence[int],
    weights: Tensors,
    biases: Tensors,
    groups: Sequence[int],
    stride: Sequence[int],
    geometry: Sequence[int],
) -> tuple[Level, ...] | str:
    axes = len(x_size)
    if axes not in (4, 5):
        return f"expected an input (N, C, Y, X) or (N, C, Z, Y, X), but got {axes} axes, {tuple(x_size)}"
    if not weights or len(groups) != len(weights) or len(biases) not in (0, len(weights)):
        return (
            "expected weights, groups and, if there are any, biases of as many levels, at least one, but got "
            f"{len(weights)} weights, {len(groups)} groups and {len(biases)} biases"
        )
    if len(stride) != axes - 2 or min(stride) < 1:
        return f"expected a stride of {axes - 2} positive numbers, one an axis, but got {tuple(stride)}"
    if x_size[0] < 0 or any(size < 1 for size in x_size[1:]):
        return f"expected at least one channel and one pixel along each axis, but got an input {tuple(x_size)}"
    for weight, g in zip(weights, groups, strict=True):
        wrong = _wrong_weight(tuple(weight.shape), g, x_size)
        if wrong is not None:
            return wrong
    for z, bias in enumerate(biases):  # no bias at all is right
        if tuple(bias.shape) != (weights[z].shape[0],):
            return f"expected a bias ({weights[z].shape[0]},) for its level, but got {tuple(bias.shape)}"
    wrong = _wrong_geometry(geometry, len(weights), axes)
    if wrong is not None:
        return wrong
    levels = levels_of(weights, groups, geometry)
    return _wrong_inputs(levels, x_size) or levels


def _wrong_weight(size: tuple[int, ...], groups: int, x_size: Sequence[int]) -> str | None:
    if len(size) != len(x_size):
        return f"expected weights of {len(x_size)} axes for an input {tuple(x_size)}, but got {size}"
    if groups < 1 or size[0] < 1 or size[0] % groups:
        return f"expected groups that divide the output channels, but got {groups} groups for weights {size}"
    if any(edge % 2 == 0 for edge in size[2:]):
        return f"expected a kernel with odd edges, but got weights {size}"
    return None


def _wrong_geometry(geometry: Sequence[int], levels: int, axes: int) -> str | None:
    numbers = axes - 1  # the first channel, and a dilation for each spatial axis
    wrong = len(geometry) not in (0, levels * numbers)
    if wrong or any(n < (place % numbers > 0) for place, n in enumerate(geometry)):
        return (
            f"expected for each of {levels} levels its first input channel and {axes - 2} positive dilations, or "
            f"nothing, but got {tuple(geometry)}"
        )
    return None


def _wrong_inputs(levels: Sequence[Level], x_size: Sequence[int]) -> str | None:
    """All levels have all channels, or each begins where the one before ends."""
    if all(level.first_in_channel == 0 for level in levels):
        for level in levels:
            if level.in_channels != x_size[1]:
                return (
                    f"weights {(level.out_channels, level.inputs, *level.kernel_size)} in {level.groups} groups expect "
                    f"{level.in_channels} input channels, but the input {tuple(x_size)} has {x_size[1]}"
                )
        return None
    ends = [0, *itertools.accumulate(level.in_channels for level in levels)]
    if [level.first_in_channel for level in levels] != ends[:-1] or ends[-1] != x_size[1]:
        channels = [(level.first_in_channel, level.first_in_channel + level.in_channels) for level in levels]
        return f"expected levels that share out the {x_size[1]} input channels, but they take {channels}"
    return None


def _wrong_gradient(gradient: torch.Tensor, work: Workload) -> str | None:
    if tuple(gradient.shape) != work.y_size:
        return f"expected the gradient of an output {work.y_size}, but got {tuple(gradient.shape)}"
    return None


def _wrong_kind(x: torch.Tensor, others: Tensors, dtype_of: DtypeOf = own_dtype) -> str | None:
    if not x.is_floating_point():
        return f"expected an input of floating-point numbers, but got {x.dtype}"
    for other in others:
        if other.dtype != x.dtype and dtype_of(other) != dtype_of(x):
            return f"input type {x.dtype} and weight or bias type {other.dtype} should be the same"
        if other.device != x.device:
            return f"expected all tensors to be on the same device, but found {x.device} and {other.device}"
    if any(tensor.layout != torch.strided for tensor in (x, *others)):
        return f"expected dense tensors, but got {[str(tensor.layout) for tensor in (x, *others)]}"
    return None
