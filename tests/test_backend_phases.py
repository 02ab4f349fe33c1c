"""Dilated levels of volumes, whose weight gradients the fold takes by phases."""

from __future__ import annotations

import pytest
import torch
from backends import assert_agrees
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.utils.checkpoint import checkpoint

from nnunet_pyconv.nn import DILATED, PyConv3d, Pyramid
from nnunet_pyconv.nn.backends import use_backend
from nnunet_pyconv.nn.backends.fold import folded


@pytest.fixture
def layer() -> PyConv3d:
    return PyConv3d(8, 8, DILATED, bias=True)


@pytest.fixture
def x() -> torch.Tensor:
    return torch.randn(2, 8, 9, 12, 10, requires_grad=True)


def gradients(layer: PyConv3d, x: torch.Tensor) -> tuple[torch.Tensor, ...]:
    return torch.autograd.grad(layer(x).float().square().sum(), [x, *layer.parameters()])


@settings(max_examples=60, deadline=None)
@given(data=st.data(), bias=st.booleans(), groups=st.sampled_from([1, 2]))
def test_agrees_with_the_reference(data: st.DataObject, bias: bool, groups: int) -> None:
    """Any kernels and dilations along each axis, also beyond the map, and maps of which no dilation is a divisor."""
    edges, dilations = st.sampled_from([1, 3, 5]), st.integers(1, 5)
    levels = data.draw(st.integers(1, 3))
    pyramid = Pyramid(
        tuple(data.draw(st.tuples(edges, edges, edges)) for _ in range(levels)),
        groups=(groups,) * levels,
        dilations=tuple(data.draw(st.tuples(dilations, dilations, dilations)) for _ in range(levels)),
    )
    layer = PyConv3d(4, 2 * levels, pyramid, bias=bias)
    size = data.draw(st.tuples(*[st.integers(1, 9)] * 3))
    assert_agrees("fold", layer, torch.randn(data.draw(st.integers(0, 3)), 4, *size, requires_grad=True))


@pytest.mark.parametrize("stride", [2, (1, 2, 2)])
def test_strides_are_the_librarys(stride: int | tuple[int, ...]) -> None:
    layer = PyConv3d(4, 8, DILATED, stride)
    assert_agrees("fold", layer, torch.randn(2, 4, 6, 9, 8, requires_grad=True))


@pytest.mark.parametrize("trained", ["", "weight", "bias", "levels.1"])
@pytest.mark.parametrize("x_needs", [False, True])
def test_gradients_only_where_required(trained: str, x_needs: bool, layer: PyConv3d, x: torch.Tensor) -> None:
    for name, parameter in layer.named_parameters():
        parameter.requires_grad_(bool(trained) and trained in name)
    assert_agrees("fold", layer, x.detach().requires_grad_(x_needs))


def test_second_derivative(layer: PyConv3d, x: torch.Tensor) -> None:
    def penalty(setting: str) -> list[torch.Tensor]:
        layer.zero_grad()
        with use_backend(setting):
            inner = torch.autograd.grad(layer(x).square().sum(), [x, *layer.parameters()], create_graph=True)
            sum(gradient.square().sum() for gradient in inner).backward()  # type: ignore[union-attr]
        return [parameter.grad.clone() for parameter in layer.parameters() if parameter.grad is not None]

    for result, expected in zip(penalty("fold"), penalty("reference"), strict=True):
        torch.testing.assert_close(result, expected, rtol=1e-3, atol=1e-3 * float(expected.detach().abs().max()))


def test_autocast(layer: PyConv3d, x: torch.Tensor) -> None:
    results = []
    for setting in ("fold", "reference"):
        with use_backend(setting), torch.autocast("cpu", torch.bfloat16):
            y = layer(x)
            assert y.dtype == torch.bfloat16
            results.append((y, *gradients(layer, x)))
    for result, expected in zip(*results, strict=True):
        assert result.dtype == expected.dtype
        torch.testing.assert_close(result, expected, rtol=0, atol=0.03 * float(expected.detach().abs().max()))


def test_checkpoint(layer: PyConv3d, x: torch.Tensor) -> None:
    with use_backend("fold"):
        y = checkpoint(layer, x, use_reentrant=False)
        results = torch.autograd.grad(y.square().sum(), [x, *layer.parameters()])
        for result, expected in zip(results, gradients(layer, x), strict=True):
            torch.testing.assert_close(result, expected)


@pytest.mark.slow
def test_compile_has_no_graph_break(layer: PyConv3d, x: torch.Tensor) -> None:
    torch._dynamo.reset()
    with use_backend("fold"):
        compiled = torch.compile(layer, fullgraph=True, backend="aot_eager")
        torch.testing.assert_close(compiled(x), layer(x))
        results = torch.autograd.grad(compiled(x).square().sum(), [x, *layer.parameters()])
        for result, expected in zip(results, gradients(layer, x), strict=True):
            torch.testing.assert_close(result, expected, rtol=1e-4, atol=1e-4 * float(expected.detach().abs().max()))


def test_refuses_what_a_convolution_refuses(x: torch.Tensor) -> None:
    weight = torch.randn(4, 7, 3, 3, 3)
    with pytest.raises(RuntimeError, match="channels"):
        folded(x, weight, None, (1, 1, 1), 1, (2, 2, 2))
    with pytest.raises(RuntimeError, match="dilations"):
        folded(x, weight[:, :1].expand(4, 8, 3, 3, 3), None, (1, 1, 1), 1, (2, 0, 2))
    with pytest.raises(ValueError, match=r"block \(2, 2\) for a level with dilation \(1, 2, 2\)"):
        folded(x, torch.randn(4, 8, 3, 3, 3), None, (1, 1, 1), 1, (1, 2, 2), block=(2, 2))
