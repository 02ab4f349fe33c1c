"""Operation counts of the compiled execution, for torch's FLOP counter and the tools built on it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch.utils.flop_counter import register_flop_formula

import nnunet_pyconv.nn.execution.direct  # noqa: F401  # defines the operators

_ops = torch.ops.nnunet_pyconv
Shape = Sequence[int]


@register_flop_formula(_ops.direct)
def _forward(_x: Shape, weights: Sequence[Shape], *_: Any, out_shape: Shape, **__: Any) -> int:
    return _flops(weights, out_shape)


@register_flop_formula([_ops.direct_input_gradient, _ops.direct_weight_gradient])
def _gradient(gradient: Shape, *arguments: Any, **_: Any) -> int:
    weights = next(argument for argument in arguments if isinstance(argument[0], Sequence))
    return _flops(weights, gradient)


def _flops(weights: Sequence[Shape], output: Shape) -> int:
    """Two for each multiplication with a weight, as torch counts a convolution."""
    positions = output[0] * math.prod(output[2:])
    return 2 * positions * sum(math.prod(weight) for weight in weights)
