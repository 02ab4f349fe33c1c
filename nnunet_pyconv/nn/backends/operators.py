"""What the backends with kernels of their own have in common: registration as torch operators with gradients."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch.utils.flop_counter import register_flop_formula

from nnunet_pyconv.nn.backends import contract
from nnunet_pyconv.nn.backends.spec import Workload

Tensors = list[torch.Tensor]
Ints = list[int]
Forward = Callable[[torch.Tensor, Tensors, Tensors, Ints, Ints, Ints], torch.Tensor]


@dataclass(frozen=True)
class Kernels:
    """The functions of a backend. They get only what the contract and `limits` allow, and never an empty batch.

    Attributes:
        name: Of the backend.
        forward: From x `(N, C, [Z,] Y, X)`, the levels' weights `(out_channels, in_channels / groups, [KZ,] KY, KX)`
            and biases (an empty list, or `(out_channels,)` of each level) to their outputs side by side,
            `(N, all out_channels, [Z',] Y', X')`, contiguous.
        input_gradient: From the gradient of the output and the weights to the gradient of x, contiguous.
        weight_gradient: From the gradient of the output, x and the weights to the gradients of the weights, contiguous.
        limits: Says why the kernels can't compute something that the contract allows, or returns None. Tensors on
            the device "meta" are within the limits.
        device: Of the tensors ("cpu"), or None for any.
    """

    name: str
    forward: Callable[[torch.Tensor, Tensors, Tensors, Workload], torch.Tensor]
    input_gradient: Callable[[torch.Tensor, Tensors, Workload], torch.Tensor]
    weight_gradient: Callable[[torch.Tensor, torch.Tensor, Tensors, Workload], Tensors]
    limits: Callable[[Workload], str | None]
    device: str | None

    def checked(self, work: Workload | str) -> Workload:
        """Return a description of what these kernels can compute.

        Raises:
            RuntimeError: It says what is wrong, or is beyond the limits.
        """
        work = contract.checked(work)
        if beyond := self.limits(work):
            raise RuntimeError(f"the backend {self.name!r} of PyConv can't compute this: {beyond}")
        return work


def register(kernels: Kernels) -> Forward:
    """Register a backend as `nnunet_pyconv::NAME`, with fake kernels, gradients and numbers of operations.

    The operators and their fake kernels refuse arguments that a convolution of torch refuses, see `contract`. A second
    derivative is refused as well. No argument has a default: torch 2.11 drops those that equal it, and derives wrongly.

    Returns:
        The operator: from x, weights, biases, groups, the stride along each axis, and the levels' geometry (see
        `spec.levels_of`) to the output.
    """
    name = kernels.name

    # torch 2.4 can't derive the schemas from postponed annotations.
    def custom_op(suffix: str, function: Callable[..., Any], schema: str) -> Any:
        return torch.library.custom_op(
            f"nnunet_pyconv::{name}{suffix}", function, mutates_args=(), device_types=kernels.device, schema=schema
        )

    def forward(x: torch.Tensor, weights: Any, biases: Any, groups: Any, stride: Any, geometry: Any) -> torch.Tensor:
        work = kernels.checked(contract.describe(x, weights, biases, groups, stride, geometry))
        return kernels.forward(x, weights, biases, work) if x.shape[0] else x.new_empty(work.y_size)

    def input_gradient(
        gradient: torch.Tensor, weights: Any, groups: Any, stride: Any, x_size: Any, geometry: Any
    ) -> torch.Tensor:
        work = kernels.checked(contract.describe_input_gradient(gradient, weights, groups, stride, x_size, geometry))
        return kernels.input_gradient(gradient, weights, work) if x_size[0] else gradient.new_empty(x_size)

    def weight_gradient(
        gradient: torch.Tensor, x: torch.Tensor, weights: Any, groups: Any, stride: Any, geometry: Any
    ) -> Tensors:
        work = kernels.checked(contract.describe_weight_gradient(gradient, x, weights, groups, stride, geometry))
        return (
            kernels.weight_gradient(gradient, x, weights, work)
            if x.shape[0]
            else [x.new_zeros(w.shape) for w in weights]
        )

    operator = custom_op(
        "",
        forward,
        "(Tensor x, Tensor[] weights, Tensor[] biases, int[] groups, int[] stride, int[] geometry) -> Tensor",
    )
    of_input = custom_op(
        "_input_gradient",
        input_gradient,
        "(Tensor gradient, Tensor[] weights, int[] groups, int[] stride, int[] x_size, int[] geometry) -> Tensor",
    )
    of_weights = custom_op(
        "_weight_gradient",
        weight_gradient,
        "(Tensor gradient, Tensor x, Tensor[] weights, int[] groups, int[] stride, int[] geometry) -> Tensor[]",
    )

    @operator.register_fake  # type: ignore[untyped-decorator]
    def _(x: torch.Tensor, weights: Any, biases: Any, groups: Any, stride: Any, geometry: Any) -> torch.Tensor:
        work = kernels.checked(contract.describe(x, weights, biases, groups, stride, geometry))
        return x.new_empty(work.y_size)

    @of_input.register_fake  # type: ignore[untyped-decorator]
    def _(gradient: torch.Tensor, weights: Any, groups: Any, stride: Any, x_size: Any, geometry: Any) -> torch.Tensor:
        kernels.checked(contract.describe_input_gradient(gradient, weights, groups, stride, x_size, geometry))
        return gradient.new_empty(x_size)

    @of_weights.register_fake  # type: ignore[untyped-decorator]
    def _(gradient: torch.Tensor, x: Any, weights: Any, groups: Any, stride: Any, geometry: Any) -> Tensors:
        kernels.checked(contract.describe_weight_gradient(gradient, x, weights, groups, stride, geometry))
        return [gradient.new_empty(w.shape) for w in weights]

    def backward(ctx: Any, gradient: torch.Tensor) -> tuple[Any, ...]:
        x, *weights = ctx.saved_tensors
        need_x, need_weights, need_biases = (_any(need) for need in ctx.needs_input_grad[:3])
        x_gradient: torch.Tensor | None = None
        weight_gradients: list[torch.Tensor | None] = [None] * len(weights)
        bias_gradients: list[torch.Tensor | None] = [None] * ctx.biases
        if need_x:
            x_gradient = of_input(gradient, weights, ctx.groups, ctx.stride, ctx.x_size, ctx.geometry)
        if need_weights:
            weight_gradients = of_weights(gradient, x, weights, ctx.groups, ctx.stride, ctx.geometry)
        if need_biases and ctx.biases:
            total = gradient.sum([0, *range(2, gradient.dim())])
            bias_gradients = list(torch.split(total, [w.shape[0] for w in weights]))
        of_geometry: list[int] | None = None if ctx.geometry else []  # torch takes an empty list for one of tensors
        return x_gradient, weight_gradients, bias_gradients, None, None, of_geometry

    def refuse_second_order(ctx: Any, *gradients: Any) -> Any:
        raise NotImplementedError(
            f'the backend "{name}" of PyConv has no second derivative; '
            'use `with nnunet_pyconv.nn.backends.use_backend("reference"):` around the forward pass'
        )

    operator.register_autograd(backward, setup_context=_save)
    of_input.register_autograd(refuse_second_order)
    of_weights.register_autograd(refuse_second_order)

    packets = torch.ops.nnunet_pyconv

    @register_flop_formula(getattr(packets, name))
    def _(x: Any, weights: Any, *others: Any, out_shape: Any, **_: Any) -> int:  # noqa: ARG001
        return _flops(out_shape, weights)

    @register_flop_formula([getattr(packets, f"{name}_input_gradient"), getattr(packets, f"{name}_weight_gradient")])
    def _(gradient: Any, *others: Any, **_: Any) -> int:
        return _flops(gradient, next(other for other in others if isinstance(other, list)))

    return operator


def _save(ctx: Any, inputs: Any, output: torch.Tensor) -> None:  # noqa: ARG001
    x, weights, biases, ctx.groups, ctx.stride, ctx.geometry = inputs
    ctx.x_size, ctx.biases = list(x.shape), len(biases)
    ctx.save_for_backward(x, *weights)


def _any(need: Any) -> bool:
    return any(need) if isinstance(need, (list, tuple)) else bool(need)


def _flops(y_size: Sequence[int], weight_sizes: Sequence[Sequence[int]]) -> int:
    """Count two operations a multiplication, as torch's counter does for a convolution."""
    return 2 * y_size[0] * math.prod(y_size[2:]) * sum(math.prod(size) for size in weight_sizes)
