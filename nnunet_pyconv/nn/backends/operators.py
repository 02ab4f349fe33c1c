"""What the backends with kernels of their own have in common: registration as torch operators with gradients."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch.utils.flop_counter import register_flop_formula

from nnunet_pyconv.nn.backends import contract
from nnunet_pyconv.nn.backends.spec import Workload, output_shape

Tensors = list[torch.Tensor]
Ints = list[int]
Forward = Callable[[torch.Tensor, Tensors, Tensors, Ints, Ints, Ints], torch.Tensor]
InputGradient = Callable[[torch.Tensor, Tensors, Ints, Ints, Ints, Ints], torch.Tensor]
WeightGradient = Callable[[torch.Tensor, torch.Tensor, Tensors, Ints, Ints, Ints], Tensors]


@dataclass(frozen=True)
class Kernels:
    """The functions of a backend.

    All take the levels' weights `(out_channels, in_channels / groups, [KZ,] KY, KX)`, groups, the stride along each
    axis, and last the levels' geometry, see `spec.levels_of`. They get only what the contract and `limits` allow, and
    never an empty batch.

    Attributes:
        name: Of the backend.
        forward: From x `(N, C, [Z,] Y, X)`, weights, biases (an empty list, or `(out_channels,)` of each level), groups
            and stride to the levels' outputs side by side, `(N, all out_channels, [Z',] Y', X')`, contiguous.
        input_gradient: From the gradient of the output, weights, groups, stride and the size of x to the gradient of x,
            contiguous.
        weight_gradient: From the gradient of the output, x, weights, groups and stride to those of the weights,
            contiguous.
        limits: Says why the kernels can't compute something that the contract allows, or returns None. Tensors on
            the device "meta" are within the limits.
        device: Of the tensors ("cpu"), or None for any.
    """

    name: str
    forward: Forward
    input_gradient: InputGradient
    weight_gradient: WeightGradient
    limits: Callable[[Workload], str | None]
    device: str | None

    def check_forward(
        self, x: torch.Tensor, weights: Tensors, biases: Tensors, groups: Any, stride: Any, geometry: Any
    ) -> None:
        """Raise a RuntimeError for arguments that the forward pass can't take."""
        contract.check_forward(x, weights, biases, groups, stride, geometry)
        self._check_limits(Workload.of(x, weights, groups, stride, geometry))

    def check_input_gradient(
        self, gradient: torch.Tensor, weights: Tensors, groups: Any, stride: Any, x: Any, geometry: Any
    ) -> None:
        """Raise a RuntimeError for arguments that the gradient of the input can't take."""
        contract.check_input_gradient(gradient, weights, groups, stride, x, geometry)
        of_output = Workload.of(gradient, weights, groups, stride, geometry)
        self._check_limits(replace(of_output, x_size=tuple(x)))

    def check_weight_gradient(
        self, gradient: torch.Tensor, x: torch.Tensor, weights: Tensors, groups: Any, stride: Any, geometry: Any
    ) -> None:
        """Raise a RuntimeError for arguments that the gradients of the weights can't take."""
        contract.check_weight_gradient(gradient, x, weights, groups, stride, geometry)
        self._check_limits(Workload.of(x, weights, groups, stride, geometry))

    def _check_limits(self, work: Workload) -> None:
        if beyond := self.limits(work):
            raise RuntimeError(f"the backend {self.name!r} of PyConv can't compute this: {beyond}")


def register(kernels: Kernels) -> Forward:
    """Register a backend as `nnunet_pyconv::NAME`, with fake kernels, gradients and numbers of operations.

    The operators and their fake kernels refuse arguments that a convolution of torch refuses, see `contract`. A second
    derivative is refused as well.

    Returns:
        The operator, to be called as `Kernels.forward`.
    """
    name = kernels.name

    # torch 2.4 can't derive the schemas from postponed annotations.
    def custom_op(suffix: str, function: Callable[..., Any], schema: str) -> Any:
        return torch.library.custom_op(
            f"nnunet_pyconv::{name}{suffix}", function, mutates_args=(), device_types=kernels.device, schema=schema
        )

    def forward(
        x: torch.Tensor, weights: Any, biases: Any, groups: Any, stride: Any, geometry: Any = ()
    ) -> torch.Tensor:
        kernels.check_forward(x, weights, biases, groups, stride, geometry)
        if x.shape[0] == 0:
            return x.new_empty(output_shape(x.shape, weights, stride))
        return kernels.forward(x, weights, biases, groups, stride, geometry)

    def input_gradient(
        gradient: torch.Tensor, weights: Any, groups: Any, stride: Any, x_size: Any, geometry: Any = ()
    ) -> torch.Tensor:
        kernels.check_input_gradient(gradient, weights, groups, stride, x_size, geometry)
        if gradient.shape[0] == 0:
            return gradient.new_empty(x_size)
        return kernels.input_gradient(gradient, weights, groups, stride, x_size, geometry)

    def weight_gradient(
        gradient: torch.Tensor, x: torch.Tensor, weights: Any, groups: Any, stride: Any, geometry: Any = ()
    ) -> Tensors:
        kernels.check_weight_gradient(gradient, x, weights, groups, stride, geometry)
        if x.shape[0] == 0:
            return [x.new_zeros(w.shape) for w in weights]
        return kernels.weight_gradient(gradient, x, weights, groups, stride, geometry)

    operator = custom_op(
        "",
        forward,
        "(Tensor x, Tensor[] weights, Tensor[] biases, int[] groups, int[] stride, int[] geometry=[]) -> Tensor",
    )
    of_input = custom_op(
        "_input_gradient",
        input_gradient,
        "(Tensor gradient, Tensor[] weights, int[] groups, int[] stride, int[] x_size, int[] geometry=[]) -> Tensor",
    )
    of_weights = custom_op(
        "_weight_gradient",
        weight_gradient,
        "(Tensor gradient, Tensor x, Tensor[] weights, int[] groups, int[] stride, int[] geometry=[]) -> Tensor[]",
    )

    @operator.register_fake  # type: ignore[untyped-decorator]
    def _(x: torch.Tensor, weights: Any, biases: Any, groups: Any, stride: Any, geometry: Any = ()) -> torch.Tensor:
        kernels.check_forward(x, weights, biases, groups, stride, geometry)
        return x.new_empty(output_shape(x.shape, weights, stride))

    @of_input.register_fake  # type: ignore[untyped-decorator]
    def _(
        gradient: torch.Tensor, weights: Any, groups: Any, stride: Any, x_size: Any, geometry: Any = ()
    ) -> torch.Tensor:
        kernels.check_input_gradient(gradient, weights, groups, stride, x_size, geometry)
        return gradient.new_empty(x_size)

    @of_weights.register_fake  # type: ignore[untyped-decorator]
    def _(gradient: torch.Tensor, x: Any, weights: Any, groups: Any, stride: Any, geometry: Any = ()) -> Tensors:
        kernels.check_weight_gradient(gradient, x, weights, groups, stride, geometry)
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
        return x_gradient, weight_gradients, bias_gradients, None, None, None

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
