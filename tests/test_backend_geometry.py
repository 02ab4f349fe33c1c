"""Levels that are dilated, or that share out the input channels, in the compiled kernel."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from backends import assert_agrees, needs_kernel
from hypothesis import given, settings
from hypothesis import strategies as st

from nnunet_pyconv.nn import DEPTHWISE, DILATED, PyConv2d, PyConv3d, Pyramid
from nnunet_pyconv.nn.backends import use_backend
from nnunet_pyconv.nn.backends.native.kernel import native_levels


@st.composite
def pyramids(draw: st.DrawFn, dim: int) -> Pyramid:
    """Up to four dense levels with kernels and dilations of their own along each axis."""
    n = draw(st.integers(1, 4))
    edges, dilations = st.sampled_from([1, 3, 5]), st.integers(1, 4)
    return Pyramid(
        tuple(draw(st.tuples(*[edges] * dim)) for _ in range(n)),
        groups=(1,) * n,
        dilations=tuple(draw(st.tuples(*[dilations] * dim)) for _ in range(n)),
    )


@needs_kernel
@settings(max_examples=60, deadline=None)
@given(data=st.data(), dim=st.sampled_from([2, 3]), shares=st.booleans(), bias=st.booleans())
def test_the_kernel_agrees(data: st.DataObject, dim: int, shares: bool, bias: bool) -> None:
    stride = data.draw(st.tuples(*[st.sampled_from([1, 2, 3])] * dim))
    size = data.draw(st.tuples(*[st.sampled_from([1, 3, 8, 11] if dim == 3 else [1, 5, 16, 37])] * dim))
    in_channels = data.draw(st.integers(1, 13))
    layer_type = PyConv2d if dim == 2 else PyConv3d
    if shares:
        kernels = (3, 5, 7, 9) if dim == 2 else (3, 5)
        layer = layer_type(in_channels, in_channels, Pyramid(kernels, depthwise=True), stride, bias)
    else:
        layer = layer_type(in_channels, data.draw(st.integers(4, 21)), data.draw(pyramids(dim)), stride, bias)
    assert_agrees("native", layer, torch.randn(data.draw(st.integers(1, 3)), in_channels, *size, requires_grad=True))


@needs_kernel
@pytest.mark.parametrize(
    ("layer", "size"),
    [
        # more channels than fit the scratch of a task at once, so that each level has tasks of its own
        pytest.param(lambda: PyConv2d(96, 96, DILATED), (40, 70), id="dilated"),
        pytest.param(lambda: PyConv2d(96, 96, DEPTHWISE, stride=2), (40, 70), id="depthwise"),
        pytest.param(lambda: PyConv3d(48, 40, DILATED), (13, 20, 33), id="dilated-3d"),
        pytest.param(lambda: PyConv3d(48, 40, DILATED), (3, 20, 33), id="dilated-3d-of-fewer-depths-than-dilation"),
        pytest.param(lambda: PyConv3d(48, 40, DILATED, stride=2), (13, 20, 33), id="dilated-3d-with-a-stride"),
        pytest.param(lambda: PyConv3d(24, 24, DEPTHWISE), (9, 12, 20), id="depthwise-3d"),
    ],
)
def test_the_kernel_agrees_for_many_channels(layer: Any, size: tuple[int, ...]) -> None:
    module = layer()
    assert_agrees("native", module, torch.randn(2, module.in_channels, *size, requires_grad=True))


@needs_kernel
@pytest.mark.parametrize("pyramid", [DILATED, DEPTHWISE], ids=["dilated", "depthwise"])
def test_narrow_layers_take_the_kernel(pyramid: Pyramid) -> None:
    layer, x = PyConv2d(16, 16, pyramid), torch.randn(1, 16, 48, 48)
    assert layer.backend_for(x) == "native"
    assert layer.backend_for(x.double()) == "reference"
    wide = PyConv2d(256, 256, pyramid)  # the library has groups of many channels, but no fast depthwise gradients
    assert wide.backend_for(torch.randn(1, 256, 32, 32)) == ("reference" if pyramid == DILATED else "native")
    with use_backend("fold"):  # it is not written for shares
        assert layer.backend_for(x) == ("fold" if pyramid == DILATED else "reference")


@needs_kernel
@pytest.mark.parametrize("channels", [8, 32])
def test_an_input_of_other_channels_is_refused_as_torch_refuses_it(channels: int) -> None:
    layer = PyConv2d(16, 16, DEPTHWISE)
    with pytest.raises(RuntimeError):
        layer(torch.randn(1, channels, 24, 24))
    with pytest.raises(RuntimeError):
        PyConv2d(16, 16, DILATED)(torch.randn(1, channels, 24, 24))


X = torch.randn(1, 4, 9, 9)
WEIGHTS = [torch.randn(2, 2, 3, 3), torch.randn(2, 2, 3, 3)]


@needs_kernel
@pytest.mark.parametrize(
    ("geometry", "message"),
    [
        ([0, 1, 1], "first input channel and 2 positive dilations"),
        ([0, 1, 1, 2, 1, 0], "first input channel and 2 positive dilations"),
        ([0, 1, 1, -2, 1, 1], "first input channel and 2 positive dilations"),
        ([0, 1, 1, 0, 1, 1], "expect 2 input channels, but the input .* has 4"),
        ([0, 1, 1, 1, 1, 1], r"share out the 4 input channels, but they take \[\(0, 2\), \(1, 3\)\]"),
        ([2, 1, 1, 0, 1, 1], "share out the 4 input channels"),
        ([0, 1, 1, 2, 99, 1], "dilated kernels up to 63 pixels"),
    ],
    ids=str,
)
def test_operators_refuse_levels_beyond_the_input(geometry: list[int], message: str) -> None:
    with pytest.raises(RuntimeError, match=message):
        native_levels(X, WEIGHTS, [], [1, 1], [1, 1], geometry)


@needs_kernel
def test_levels_on_shares_of_the_input() -> None:
    y = native_levels(X, WEIGHTS, [], [1, 1], [1, 1], [0, 1, 1, 2, 2, 2])
    expected = [
        torch.nn.functional.conv2d(X[:, :2], WEIGHTS[0], padding=1),
        torch.nn.functional.conv2d(X[:, 2:], WEIGHTS[1], padding=2, dilation=2),
    ]
    torch.testing.assert_close(y, torch.cat(expected, dim=1), rtol=1e-4, atol=1e-5)


@needs_kernel
def test_second_derivative_is_refused() -> None:
    layer, x = PyConv2d(8, 8, DILATED), torch.randn(1, 8, 24, 24, requires_grad=True)
    with use_backend("native"):
        (first,) = torch.autograd.grad(layer(x).square().sum(), x, create_graph=True)
    with pytest.raises(NotImplementedError, match="no second derivative"):
        first.sum().backward()


@needs_kernel
@pytest.mark.slow
@pytest.mark.parametrize("pyramid", [DILATED, DEPTHWISE], ids=["dilated", "depthwise"])
def test_compiled_layer_agrees(pyramid: Pyramid) -> None:
    layer, x = PyConv2d(8, 8, pyramid), torch.randn(1, 8, 24, 24)
    torch.testing.assert_close(torch.compile(layer, fullgraph=True)(x), layer(x), rtol=1e-4, atol=1e-4)


@pytest.mark.filterwarnings("ignore:.*torch.jit.* is deprecated")
@pytest.mark.parametrize("pyramid", [DILATED, DEPTHWISE], ids=["dilated", "depthwise"])
def test_scripted_layer_agrees(pyramid: Pyramid) -> None:
    layer, x = PyConv2d(8, 8, pyramid), torch.randn(1, 8, 9, 12)
    torch.testing.assert_close(torch.jit.script(layer)(x), layer(x), rtol=1e-4, atol=1e-4)
