"""Every backend against the reference: output and all gradients."""

from __future__ import annotations

import pytest
import torch
from backends import NATIVE, assert_agrees, needs_kernel, run
from hypothesis import given, settings
from hypothesis import strategies as st

from nnunet_pyconv.nn import PyConv2d, PyConv3d, Pyramid
from nnunet_pyconv.nn.backends import use_backend

BACKENDS = [NATIVE, "fold", "auto"]


@pytest.mark.parametrize("setting", BACKENDS)
@pytest.mark.parametrize(
    ("channels", "size"),
    [
        ((32, 32), (37, 70)),
        ((64, 64), (24, 24)),
        ((16, 48), (9, 33)),
        ((1, 32), (20, 17)),
        ((3, 7), (16, 130)),
        ((128, 128), (16, 16)),
    ],
    ids=str,
)
@pytest.mark.parametrize("stride", [1, 2, (2, 1), 3], ids=str)
@pytest.mark.parametrize("bias", [False, True], ids=["no bias", "bias"])
def test_agrees_in_2d(setting, channels, size, stride, bias):
    layer = PyConv2d(*channels, stride=stride, bias=bias)
    assert_agrees(setting, layer, torch.randn(2, channels[0], *size, requires_grad=True))


@pytest.mark.parametrize("setting", BACKENDS)
@pytest.mark.parametrize(
    "kernels", [(3, 5, 7), ((1, 3, 3), (1, 5, 5), (1, 9, 9)), ((3, 1, 1), (5, 1, 1))], ids=["cubes", "planes", "lines"]
)
@pytest.mark.parametrize("stride", [1, (1, 2, 2)], ids=str)
def test_agrees_in_3d(setting, kernels, stride):
    layer = PyConv3d(8, 16, Pyramid(kernels), stride=stride, bias=True)
    assert_agrees(setting, layer, torch.randn(1, 8, 9, 12, 19, requires_grad=True))


@pytest.mark.parametrize("setting", BACKENDS)
@pytest.mark.parametrize("size", [(1, 1), (1, 40), (40, 1), (2, 3), (16, 8)], ids=str)
def test_agrees_on_tiny_maps(setting, size):
    assert_agrees(setting, PyConv2d(8, 8, bias=True), torch.randn(2, 8, *size, requires_grad=True))


@needs_kernel
@pytest.mark.parametrize("batch", [1, 3, 8])
@pytest.mark.parametrize(
    "size", [(4, 3), (9, 5), (7, 8), (11, 10), (5, 18), (3, 7, 4), (9, 6, 7), (10, 5, 12)], ids=str
)
@pytest.mark.parametrize("stride", [1, 2])
def test_the_kernel_agrees_on_narrow_maps(batch, size, stride):
    # several images or depths share a vector, and 21 output channels are blocks of 4 and a rest
    layer_type, kernels = (PyConv2d, (3, 5, 7)) if len(size) == 2 else (PyConv3d, (3, (5, 3, 5)))
    layer = layer_type(8, 21 * len(kernels), Pyramid(kernels, groups=(1,) * len(kernels)), stride=stride, bias=True)
    assert_agrees("native", layer, torch.randn(batch, 8, *size, requires_grad=True))


@pytest.mark.parametrize("setting", BACKENDS)
@pytest.mark.parametrize(
    "change",
    [
        lambda x: x.contiguous(memory_format=torch.channels_last),
        lambda x: x.transpose(2, 3),
        lambda x: x[:, ::2, 1:, ::2],
        lambda x: x[:1, :1].expand(3, 16, -1, -1),
    ],
    ids=["channels_last", "transposed", "sliced", "expanded"],
)
def test_agrees_for_any_strides(setting, change):
    x = change(torch.randn(2, 16, 24, 36))
    assert_agrees(setting, PyConv2d(x.shape[1], 16), x.detach().requires_grad_())


@pytest.mark.parametrize("setting", BACKENDS)
def test_agrees_for_a_gradient_without_own_memory(setting):
    layer, x = PyConv2d(8, 8), torch.randn(1, 8, 20, 20)
    gradients = []
    for each in (setting, "reference"):
        with use_backend(each):
            gradients.append(torch.autograd.grad(layer(x).sum(), list(layer.parameters())))  # expanded from one number
    for result, reference in zip(*gradients, strict=True):
        torch.testing.assert_close(result, reference, rtol=1e-4, atol=1e-3)


@pytest.mark.parametrize("setting", BACKENDS)
@pytest.mark.parametrize("x_needs", [False, True])
@pytest.mark.parametrize("trained", ["", "weight", "bias", "levels.1"])
def test_gradients_only_where_required(setting, x_needs, trained):
    layer = PyConv2d(8, 16, bias=True)
    for name, parameter in layer.named_parameters():
        parameter.requires_grad_(bool(trained) and trained in name)
    assert_agrees(setting, layer, torch.randn(1, 8, 18, 18, requires_grad=x_needs))


@pytest.mark.parametrize("setting", BACKENDS)
def test_empty_batch(setting):
    layer, x = PyConv2d(8, 8, bias=True), torch.empty(0, 8, 16, 16, requires_grad=True)
    y, x_gradient, *others = run(setting, layer, x)
    assert y.shape == x_gradient.shape == (0, 8, 16, 16)
    assert all(not gradient.any() for gradient in others)


@pytest.mark.parametrize("setting", BACKENDS)
@pytest.mark.parametrize("layer_type", [PyConv2d, PyConv3d])
def test_input_without_a_batch(setting, layer_type):
    layer, x = (
        layer_type(8, 8, Pyramid((3, 5)), bias=True),
        torch.randn(8, *(9, 7, 8)[: layer_type._dim], requires_grad=True),
    )
    with use_backend(setting):
        torch.testing.assert_close(layer(x), layer(x[None])[0])
    assert_agrees(setting, layer, x)


@pytest.mark.parametrize("setting", BACKENDS)
@pytest.mark.parametrize(
    ("channels", "size", "kernels"),
    [(64, (50, 50), (3, 5, 7, 9)), (64, (9, 7), (3, 5, 7, 9)), (256, (12, 12), (3, 5, 7)), (64, (6, 10, 10), (3, 5))],
    ids=str,
)
def test_any_number_of_threads_gives_the_same_bits(setting, channels, size, kernels):
    layer = (PyConv2d if len(size) == 2 else PyConv3d)(channels, channels, Pyramid(kernels))
    x = torch.randn(2, channels, *size, requires_grad=True)
    threads, results = torch.get_num_threads(), []
    try:
        for count in (1, 2, 7):
            torch.set_num_threads(count)
            results.append(run(setting, layer, x))
    finally:
        torch.set_num_threads(threads)
    tolerance = {"rtol": 0, "atol": 0} if setting == "native" else {"rtol": 1e-3, "atol": 1e-3}
    for other in results[1:]:
        for a, b in zip(results[0], other, strict=True):
            torch.testing.assert_close(a, b, **tolerance)


@pytest.mark.parametrize("setting", BACKENDS)
@settings(max_examples=12, deadline=None, derandomize=True)
@given(data=st.data())
def test_agrees_for_random_layers(setting, data):
    dim = data.draw(st.sampled_from([2, 2, 3]), "dim")
    in_channels = data.draw(st.integers(1, 12), "in_channels") * data.draw(st.sampled_from([1, 4]), "times")
    out_channels = data.draw(st.sampled_from([1, 2, 5, 8, 16, 24, 32]), "out_channels")
    kernels = data.draw(st.lists(st.sampled_from([1, 3, 5, 7, 9, 11]), min_size=1, max_size=4), "kernels")
    stride = data.draw(st.lists(st.integers(1, 3), min_size=dim, max_size=dim), "stride")
    size = data.draw(st.lists(st.integers(1, 40 if dim == 2 else 12), min_size=dim, max_size=dim), "size")
    bias = data.draw(st.booleans(), "bias")
    layer = (PyConv2d if dim == 2 else PyConv3d)(in_channels, out_channels, Pyramid(kernels), stride=stride, bias=bias)
    assert_agrees(setting, layer, torch.randn(2, in_channels, *size, requires_grad=True))


@pytest.mark.parametrize("setting", BACKENDS)
@settings(max_examples=25, deadline=None, derandomize=True)
@given(data=st.data())
def test_agrees_for_random_dilations_and_shares(setting, data):
    dim = data.draw(st.sampled_from([2, 2, 3]), "dim")
    levels = data.draw(st.integers(1, 4), "levels")

    def of_each_level(values):
        return st.lists(st.tuples(*[values] * dim), min_size=levels, max_size=levels)

    kernels = data.draw(of_each_level(st.sampled_from([1, 3, 3, 5])), "kernels")
    dilations = data.draw(of_each_level(st.integers(1, 6)), "dilations")
    dilations = [
        tuple(1 if k == 1 else d for k, d in zip(*level, strict=True)) for level in zip(kernels, dilations, strict=True)
    ]
    depthwise = data.draw(st.booleans(), "depthwise")
    in_channels = data.draw(st.integers(4, 33), "in_channels")
    out_channels = in_channels if depthwise else data.draw(st.integers(4, 24), "out_channels")
    stride = data.draw(st.lists(st.integers(1, 3), min_size=dim, max_size=dim), "stride")
    size = data.draw(st.lists(st.integers(1, 40 if dim == 2 else 12), min_size=dim, max_size=dim), "size")
    pyramid = Pyramid(kernels, dilations=dilations, depthwise=depthwise)
    layer = (PyConv2d if dim == 2 else PyConv3d)(in_channels, out_channels, pyramid, stride=stride, bias=True)
    assert_agrees(setting, layer, torch.randn(2, in_channels, *size, requires_grad=True))
