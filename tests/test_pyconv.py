from __future__ import annotations

from typing import Any

import pytest
import torch
import torch.nn.functional as F
from backends import needs_kernel
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.utils.flop_counter import FlopCounterMode

from nnunet_pyconv.nn import PyConv2d, PyConv3d, Pyramid
from nnunet_pyconv.nn.backends import use_backend

# kernels, groups and split of PyConv2, PyConv3 and PyConv4 for 64 channels, as published
PUBLISHED = [
    pytest.param((3, 5), (1, 4), (32, 32), id="2-levels"),
    pytest.param((3, 5, 7), (1, 4, 8), (16, 16, 32), id="3-levels"),
    pytest.param((3, 5, 7, 9), (1, 4, 8, 16), (16, 16, 16, 16), id="4-levels-equal"),
    pytest.param((3, 5, 7, 9), (1, 4, 8, 16), (8, 8, 16, 32), id="4-levels-growing"),
]


def oracle(layer: Any, x: torch.Tensor, weights: list[torch.Tensor], biases: list[torch.Tensor | None]) -> torch.Tensor:
    """The levels by torch's functional convolution alone."""
    convolve = F.conv2d if isinstance(layer, PyConv2d) else F.conv3d
    outputs = []
    for level, weight, bias in zip(layer.levels, weights, biases, strict=True):
        padding = [d * (k // 2) for d, k in zip(level.dilation, weight.shape[2:], strict=True)]
        outputs.append(
            convolve(
                x, weight, bias, stride=layer.stride, padding=padding, dilation=level.dilation, groups=level.groups
            )
        )
    return torch.cat(outputs, dim=1)


def assert_like_oracle(layer: Any, shape: tuple[int, ...]) -> None:
    """Forward and all gradients."""
    x = torch.randn(shape, requires_grad=True)
    y = layer(x)
    gradient = torch.randn_like(y)
    parameters = list(layer.parameters())
    actual = torch.autograd.grad(y, [x, *parameters], gradient)

    weights = [level.weight for level in layer.levels]
    biases = [level.bias for level in layer.levels]
    expected_y = oracle(layer, x, weights, biases)
    expected = torch.autograd.grad(expected_y, [x, *parameters], gradient)
    torch.testing.assert_close(y, expected_y, rtol=1e-4, atol=1e-4)
    for a, e in zip(actual, expected, strict=True):
        torch.testing.assert_close(a, e, rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize(("kernel_sizes", "groups", "split"), PUBLISHED)
def test_published_configurations(
    kernel_sizes: tuple[int, ...], groups: tuple[int, ...], split: tuple[int, ...]
) -> None:
    layer = PyConv2d(64, 64, Pyramid(kernel_sizes, groups, split))
    assert [level.weight.shape for level in layer.levels] == [
        (c, 64 // g, k, k) for k, g, c in zip(kernel_sizes, groups, split, strict=True)
    ]
    assert_like_oracle(layer, (2, 64, 12, 10))


@pytest.mark.parametrize("kernel_sizes", [(3, 5), (3, 5, 7), (3, 5, 7, 9)], ids=str)
def test_rule_gives_the_published_groups(kernel_sizes: tuple[int, ...]) -> None:
    layer = PyConv2d(64, 64, Pyramid(kernel_sizes))
    assert [level.groups for level in layer.levels] == [1, 4, 8, 16][: len(kernel_sizes)]


@settings(max_examples=40, deadline=None)
@given(
    in_channels=st.sampled_from([1, 3, 4, 12]),
    out_channels=st.sampled_from([1, 3, 8, 12, 36]),
    n_levels=st.integers(1, 4),
    height=st.integers(1, 13),
    width=st.integers(1, 13),
    stride=st.integers(1, 2),
    dilation=st.integers(1, 2),
    bias=st.booleans(),
)
def test_2d_like_oracle(
    in_channels: int, out_channels: int, n_levels: int, height: int, width: int, stride: int, dilation: int, bias: bool
) -> None:
    pyramid = Pyramid((3, 5, 7, 9)[:n_levels], dilations=(dilation,) * n_levels)
    layer = PyConv2d(in_channels, out_channels, pyramid, stride=stride, bias=bias)
    assert_like_oracle(layer, (2, in_channels, height, width))


@pytest.mark.parametrize("stride", [1, 2, (1, 2, 2)], ids=str)
@pytest.mark.parametrize("kernel_sizes", [(3, 5, 7), ((1, 3, 3), (1, 5, 5))], ids=["isotropic", "in-plane"])
def test_3d_like_oracle(kernel_sizes: tuple[Any, ...], stride: int | tuple[int, ...]) -> None:
    assert_like_oracle(PyConv3d(8, 16, Pyramid(kernel_sizes), stride=stride, bias=True), (1, 8, 5, 7, 6))


@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("size", [(1, 1), (7, 7), (8, 5), (16, 9)], ids=str)
def test_size_is_that_of_a_3x3_convolution(size: tuple[int, int], stride: int) -> None:
    x = torch.zeros(1, 4, *size)
    plain = torch.nn.Conv2d(4, 8, 3, stride=stride, padding=1)
    assert PyConv2d(4, 8, stride=stride)(x).shape == plain(x).shape


def test_one_level_is_a_plain_convolution() -> None:
    layer = PyConv2d(6, 10, Pyramid((3,)), bias=True)
    plain = torch.nn.Conv2d(6, 10, 3, padding=1)
    plain.load_state_dict({name.removeprefix("levels.0."): value for name, value in layer.state_dict().items()})
    x = torch.randn(2, 6, 9, 8)
    torch.testing.assert_close(layer(x), plain(x))


@pytest.mark.parametrize("bias", [False, True])
def test_levels_hold_the_only_parameters(bias: bool) -> None:
    layer = PyConv2d(8, 16, bias=bias)
    assert isinstance(layer.levels, torch.nn.ModuleList)
    names = {f"levels.{z}.{name}" for z in range(4) for name in (["weight", "bias"] if bias else ["weight"])}
    assert set(layer.state_dict()) == names
    assert {name for name, _ in layer.named_parameters()} == names
    assert [level.kernel_size for level in layer.levels] == [(3, 3), (5, 5), (7, 7), (9, 9)]


@pytest.mark.parametrize(
    ("layer", "size"),
    [
        pytest.param(lambda: PyConv2d(144, 144, Pyramid((3, 9), groups=(1, 9))), (10, 12), id="2d"),
        pytest.param(lambda: PyConv3d(27, 54, Pyramid((1, 3), groups=(1, 27))), (4, 5, 6), id="3d"),
    ],
)
def test_parameters_and_multiplications_of_eq_5_to_8(layer: Any, size: tuple[int, ...]) -> None:
    """Where G_z = K_z^d / K_1^d exactly, all levels together cost what one convolution of kernel K_1 costs."""
    layer = layer()
    first = layer.levels[0].kernel_size
    dim = len(first)
    in_channels, out_channels = layer.in_channels, layer.out_channels
    parameters = first[0] ** dim * in_channels * out_channels  # Eq. 5 with one level
    assert sum(p.numel() for p in layer.parameters()) == parameters
    # level by level, so that torch's own count of ordinary convolutions is the oracle
    with use_backend("reference"), FlopCounterMode(display=False) as counter, torch.no_grad():
        layer(torch.zeros(1, in_channels, *size))
    pixels = torch.Size(size).numel()
    assert counter.get_total_flops() == 2 * parameters * pixels  # Eq. 6; a MAC is two FLOPs


def test_repr_says_what_was_chosen() -> None:
    assert repr(PyConv2d(64, 64, stride=2)) == (
        "PyConv2d(64, 64, levels: 3x3 /1 -> 16, 5x5 /4 -> 16, 7x7 /8 -> 16, 9x9 /16 -> 16, stride=(2, 2))"
    )
    dilated = Pyramid((3, 3), groups=(1, 1), dilations=(1, 2))
    assert repr(PyConv2d(8, 8, dilated)) == "PyConv2d(8, 8, levels: 3x3 /1 -> 4, 3x3 dilated by 2 /1 -> 4)"


def test_gradcheck() -> None:
    layer = PyConv2d(4, 4, Pyramid((3, 5))).double()
    x = torch.randn(1, 4, 5, 4, dtype=torch.double, requires_grad=True)
    assert torch.autograd.gradcheck(layer, (x,))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"pyramid": Pyramid(groups=(1, 4, 8, 7))}, "groups=7"),
        ({"pyramid": Pyramid(depthwise=True), "out_channels": 32}, "as many outputs as inputs"),
        ({"stride": (1, 2, 2)}, r"stride \(1, 2, 2\) can't be used; expected a positive int, or 2 of them"),
        ({"stride": 0}, "stride 0 can't be used"),
    ],
)
def test_bad_arguments(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        PyConv2d(**{"in_channels": 64, "out_channels": 64, **arguments})


def test_kernels_instead_of_a_pyramid() -> None:
    with pytest.raises(TypeError, match=r"pyramid=\(3, 5\) is not a pyramid; .* give Pyramid\(\(3, 5\)\)"):
        PyConv2d(64, 64, (3, 5))  # type: ignore[arg-type]


@pytest.mark.skipif(torch.__version__.startswith("2.4."), reason="torch 2.4 counts its own operators only")
@needs_kernel
def test_flop_counter_sees_forward_and_backward_of_the_compiled_kernel() -> None:
    layer = PyConv2d(16, 16)
    x = torch.randn(2, 16, 24, 24, requires_grad=True)
    with use_backend("native"), FlopCounterMode(display=False) as counter:
        layer(x).sum().backward()
    weights = sum(level.weight.numel() for level in layer.levels)
    assert counter.get_total_flops() == 3 * 2 * weights * 2 * 24 * 24  # output, gradient of input, of weights
