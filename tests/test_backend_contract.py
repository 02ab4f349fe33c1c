"""What torch's convolution refuses, every backend refuses with the same type of error; the rest it computes alike."""

from __future__ import annotations

import copy
import io
from collections.abc import Callable
from typing import Any

import pytest
import torch
from backends import NATIVE, needs_kernel
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch._subclasses import FakeTensorMode
from torch.autograd import forward_ad

from nnunet_pyconv.nn import PyConv2d, PyConv3d, Pyramid
from nnunet_pyconv.nn.backends import use_backend
from nnunet_pyconv.nn.backends.fold import folded
from nnunet_pyconv.nn.backends.reference import convolve

BACKENDS = [NATIVE, "fold", "reference", "auto"]
DTYPES = [torch.float32, torch.float64, torch.float16, torch.bfloat16, torch.int64, torch.complex64]
CHANGES: dict[str, Callable[[Any], Any]] = {
    "nothing": lambda conv: None,
    "other stride": lambda conv: setattr(conv, "stride", (2,) * len(conv.stride)),
    "stride of fewer axes": lambda conv: setattr(conv, "stride", conv.stride[:1]),
    "no stride": lambda conv: setattr(conv, "stride", (0,) * len(conv.stride)),
    "other padding": lambda conv: setattr(conv, "padding", (0,) * len(conv.padding)),
    "padding by name": lambda conv: setattr(conv, "padding", "valid"),
    "dilation": lambda conv: setattr(conv, "dilation", (2,) * len(conv.dilation)),
    "dilation and padding": lambda conv: (
        setattr(conv, "dilation", (2,) * len(conv.dilation)),
        setattr(conv, "padding", tuple(2 * padding for padding in conv.padding)),
    ),
    "dilation of fewer axes": lambda conv: setattr(conv, "dilation", (1,)),
    "no dilation": lambda conv: setattr(conv, "dilation", (0,) * len(conv.dilation)),
    "groups": lambda conv: setattr(conv, "groups", conv.groups + 1),
    "no groups": lambda conv: setattr(conv, "groups", 0),
    "weights in double": lambda conv: setattr(conv, "weight", nn.Parameter(conv.weight.double())),
    "bias in half": lambda conv: setattr(conv, "bias", nn.Parameter(torch.ones(conv.out_channels).half())),
    "bias too long": lambda conv: setattr(conv, "bias", nn.Parameter(torch.ones(conv.out_channels + 1))),
    "fewer weights": lambda conv: setattr(conv, "weight", nn.Parameter(conv.weight[:, :, 1:])),
    "no output": lambda conv: setattr(conv, "weight", nn.Parameter(conv.weight[:0])),
    "other inputs": lambda conv: setattr(conv, "weight", nn.Parameter(torch.cat([conv.weight] * 2, dim=1))),
    "weights elsewhere": lambda conv: conv.to("meta"),
    "all in double": lambda conv: conv.double(),
    "all in half": lambda conv: conv.half(),
    "frozen": lambda conv: conv.requires_grad_(False),
}


def outcome(function: Callable[[], Any]) -> Any:
    """What a function returns, or the type of its error."""
    try:
        return function()
    except Exception as error:
        return type(error)


def assert_same(result: Any, expected: Any) -> None:
    if isinstance(expected, torch.Tensor) and isinstance(result, torch.Tensor):
        assert (result.shape, result.dtype, result.device) == (expected.shape, expected.dtype, expected.device)
        if result.device.type != "meta":
            torch.testing.assert_close(result, expected, rtol=2e-2 if result.dtype.itemsize < 4 else 1e-4, atol=1e-2)
    else:
        assert result == expected


@st.composite
def layers(draw: st.DrawFn) -> tuple[Any, Any]:
    """A convolution of torch and the layer of one level with the same weights, both changed alike by hand."""
    dim = draw(st.sampled_from([2, 3]))
    groups = draw(st.sampled_from([1, 2]))
    kernel = tuple(draw(st.sampled_from([1, 3, 5])) for _ in range(dim))
    stride = tuple(draw(st.sampled_from([1, 2, 40])) for _ in range(dim))
    channels = groups * draw(st.integers(1, 3)), groups * draw(st.integers(1, 4))
    layer = (PyConv2d if dim == 2 else PyConv3d)(
        *channels, Pyramid((kernel,), groups=(groups,)), stride=stride, bias=draw(st.booleans())
    )
    CHANGES[draw(st.sampled_from(list(CHANGES)))](layer.levels[0])
    return copy.deepcopy(layer.levels[0]), layer


@st.composite
def inputs(draw: st.DrawFn, layer: Any) -> torch.Tensor:
    """An input that suits the layer, or one that differs from that in number of axes, channels, pixels, dtype, ..."""
    size = [draw(st.integers(1, 7)) for _ in range(layer._dim)]
    if draw(st.integers(0, 4)) == 0:
        size[draw(st.integers(0, layer._dim - 1))] = 0
    channels = layer.in_channels + draw(st.sampled_from([0, 0, 0, 0, -1, 1, layer.in_channels]))
    before = draw(st.sampled_from([[2, channels], [2, channels], [channels], [0, channels], [1, 1, channels], []]))
    dtype = draw(st.sampled_from([torch.float32] * 4 + DTYPES))
    x = torch.randn(*before, *size).to(dtype)
    if draw(st.integers(0, 3)) == 0:
        x = x.transpose(-1, -2)
    if draw(st.integers(0, 5)) == 0:
        x = x.to("meta")
    if x.is_floating_point() and draw(st.booleans()):
        x.requires_grad_()
    return x


@pytest.mark.slow
@pytest.mark.parametrize("autocast", [False, True], ids=["", "autocast"])
@pytest.mark.parametrize("setting", BACKENDS)
@settings(max_examples=100, deadline=None, derandomize=True)
@given(data=st.data())
def test_a_level_is_a_convolution(setting, autocast, data):
    conv, layer = data.draw(layers())
    x = data.draw(inputs(layer))
    with use_backend(setting), torch.autocast("cpu", torch.bfloat16, enabled=autocast):
        expected, result = outcome(lambda: conv(x)), outcome(lambda: layer(x))
        if result is ValueError and isinstance(expected, torch.Tensor):
            assert setting == "native"  # forced, and said so
            with pytest.raises(ValueError, match='backend "native" was asked for, but'):
                layer(x)
        elif conv.weight.device == x.device:
            assert_same(result, expected)
        else:  # torch lets some such mixtures pass, with whatever was in memory
            assert getattr(result, "shape", result) == getattr(expected, "shape", expected)


@pytest.mark.parametrize("setting", BACKENDS)
@settings(max_examples=30, deadline=None, derandomize=True)
@given(data=st.data())
def test_a_level_is_a_convolution_of_fake_tensors(setting, data):
    conv, layer = data.draw(layers())
    x = data.draw(inputs(layer))
    with FakeTensorMode(allow_non_fake_inputs=True) as fake, use_backend(setting):
        x = fake.from_tensor(x)
        expected, result = outcome(lambda: conv(x)), outcome(lambda: layer(x))
        if isinstance(expected, torch.Tensor) and isinstance(result, torch.Tensor):
            assert (result.shape, result.dtype, result.device) == (expected.shape, expected.dtype, expected.device)
        elif result is not ValueError or setting != "native" or not isinstance(expected, torch.Tensor):
            assert result == expected


FAULTS: dict[str, Callable[[dict[str, Any]], None]] = {
    "nothing": lambda a: None,
    "no batch": lambda a: a.update(x=a["x"][0]),
    "an axis more": lambda a: a.update(x=a["x"][None]),
    "a channel less": lambda a: a.update(x=a["x"][:, 1:]),
    "a channel more": lambda a: a.update(x=torch.cat([a["x"], a["x"][:, :1]], dim=1)),
    "no channel": lambda a: a.update(x=a["x"][:, :0]),
    "no pixel": lambda a: a.update(x=a["x"][..., :0]),
    "no image": lambda a: a.update(x=a["x"][:0]),
    "input in double": lambda a: a.update(x=a["x"].double()),
    "integers": lambda a: a.update(x=a["x"].long()),
    "weight in double": lambda a: a["weights"].__setitem__(-1, a["weights"][-1].double()),
    "weight elsewhere": lambda a: a["weights"].__setitem__(-1, a["weights"][-1].to("meta")),
    "weight without an axis": lambda a: a["weights"].__setitem__(-1, a["weights"][-1][..., 0]),
    "even kernel": lambda a: a["weights"].__setitem__(-1, a["weights"][-1][..., :2]),
    "no output": lambda a: a["weights"].__setitem__(-1, a["weights"][-1][:0]),
    "more inputs": lambda a: a["weights"].__setitem__(-1, torch.cat([a["weights"][-1]] * 2, dim=1)),
    "no levels": lambda a: a.update(weights=[], biases=[], groups=[]),
    "bias in half": lambda a: a["biases"].__setitem__(-1, a["biases"][-1].half()),
    "short bias": lambda a: a["biases"].__setitem__(-1, a["biases"][-1][1:]),
    "a bias missing": lambda a: a["biases"].pop(),
    "no biases": lambda a: a["biases"].clear(),
    "groups missing": lambda a: a["groups"].pop(),
    "groups that do not divide": lambda a: a["groups"].__setitem__(-1, 3),
    "no groups": lambda a: a["groups"].__setitem__(-1, 0),
    "negative groups": lambda a: a["groups"].__setitem__(-1, -2),
    "stride missing": lambda a: a["stride"].pop(),
    "no stride": lambda a: a["stride"].__setitem__(0, 0),
    "negative stride": lambda a: a["stride"].__setitem__(0, -1),
    "enormous stride": lambda a: a["stride"].__setitem__(0, 1 << 40),
    "enormous groups": lambda a: a["groups"].__setitem__(-1, 1 << 62),
}
FINE = ("nothing", "no image", "no biases")


def arguments(dim: int) -> dict[str, Any]:
    """Right ones for two levels, 4 input channels and stride 2."""
    groups = [1, 2]
    kernels = [(3,) * dim, (5,) * dim]
    return {
        "x": torch.randn(2, 4, *(7, 6, 5)[:dim]),
        "weights": [torch.randn(4, 4 // g, *k) for g, k in zip(groups, kernels, strict=True)],
        "biases": [torch.randn(4), torch.randn(4)],
        "groups": groups,
        "stride": [2] * dim,
    }


def to_meta(values: Any) -> Any:
    """The same arguments without values, where they are tensors."""
    if isinstance(values, list):
        return [to_meta(value) for value in values]
    return values.to("meta") if isinstance(values, torch.Tensor) else values


def by_convolutions(x: Any, weights: Any, biases: Any, groups: Any, stride: Any) -> torch.Tensor:
    biases = biases or [None] * len(weights)
    levels = zip(weights, biases, groups, strict=True)
    return torch.cat([convolve(x, w, b, stride, g) for w, b, g in levels], dim=1)


def by_folds(x: Any, weights: Any, biases: Any, groups: Any, stride: Any) -> torch.Tensor:
    biases = biases or [None] * len(weights)
    return torch.cat([folded(x, w, b, stride, g) for w, b, g in zip(weights, biases, groups, strict=True)], dim=1)


@needs_kernel
@pytest.mark.parametrize("device", ["cpu", "meta", "fake"])
@pytest.mark.parametrize("dim", [2, 3])
@pytest.mark.parametrize("fault", FAULTS)
def test_the_operator_refuses_what_a_convolution_refuses(fault, dim, device):
    given_arguments = arguments(dim)
    FAULTS[fault](given_arguments)
    values = list(given_arguments.values())
    if device == "meta" and fault != "weight elsewhere":
        values = to_meta(values)
    operator = torch.ops.nnunet_pyconv.native
    with FakeTensorMode(allow_non_fake_inputs=True) if device == "fake" else torch.no_grad():
        if fault not in FINE:
            with pytest.raises(RuntimeError, match="PyConv"):
                operator(*values, [])
        else:
            assert_same_shape_or_values(operator(*values, []), by_convolutions(*values), compare=device == "cpu")


def assert_same_shape_or_values(result: torch.Tensor, expected: torch.Tensor, compare: bool) -> None:
    assert result.shape == expected.shape
    if compare:
        torch.testing.assert_close(result, expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("dim", [2, 3])
@pytest.mark.parametrize("fault", [fault for fault in FAULTS if fault not in ("no levels", "a bias missing")])
def test_the_fold_refuses_what_a_convolution_refuses(fault, dim):
    given_arguments = arguments(dim)
    FAULTS[fault](given_arguments)
    values = list(given_arguments.values())
    result = outcome(lambda: by_folds(*values))
    if fault in (*FINE, "enormous stride"):
        assert_same(result, by_convolutions(*values))
    else:
        assert result is (ValueError if fault == "groups missing" else RuntimeError)  # the test's own zip


GRADIENT_FAULTS: dict[str, Callable[[dict[str, Any]], None]] = {
    "nothing": lambda a: None,
    "a channel less": lambda a: a.update(gradient=a["gradient"][:, 1:]),
    "eight channels of sixty-four": lambda a: a.update(gradient=a["gradient"][:, :1]),
    "a row less": lambda a: a.update(gradient=a["gradient"][:, :, 1:]),
    "no batch": lambda a: a.update(gradient=a["gradient"][0]),
    "another batch": lambda a: a.update(gradient=a["gradient"][:1]),
    "in double": lambda a: a.update(gradient=a["gradient"].double()),
    "a weight less": lambda a: a["weights"].pop(),
    "a weight in half": lambda a: a["weights"].__setitem__(0, a["weights"][0].half()),
    "other groups": lambda a: a["groups"].__setitem__(0, 4),
    "no stride": lambda a: a["stride"].__setitem__(0, 0),
    "another stride": lambda a: a["stride"].__setitem__(0, 1),
    "other input channels": lambda a: a.update(x=a["x"][:, :2]),
    "no pixels": lambda a: a.update(x=a["x"][..., :0]),
    "smaller input": lambda a: a.update(x=a["x"][..., :1]),
    "no batch in the input": lambda a: a.update(x=a["x"][0]),
}


@needs_kernel
@pytest.mark.parametrize("device", ["cpu", "meta"])
@pytest.mark.parametrize("fault", GRADIENT_FAULTS)
def test_the_operators_of_the_gradients_check_their_arguments(fault, device):
    given_arguments = arguments(2)
    del given_arguments["biases"]
    given_arguments["gradient"] = torch.randn(2, 8, 4, 3)
    GRADIENT_FAULTS[fault](given_arguments)
    if device == "meta":
        given_arguments = {name: to_meta(value) for name, value in given_arguments.items()}
    x, weights, groups, stride, gradient = given_arguments.values()
    calls = [
        lambda: torch.ops.nnunet_pyconv.native_input_gradient(gradient, weights, groups, stride, list(x.shape), []),
        lambda: torch.ops.nnunet_pyconv.native_weight_gradient(gradient, x, weights, groups, stride, []),
    ]
    for call in calls:
        if fault == "nothing":
            call()
        else:
            with pytest.raises(RuntimeError, match="PyConv"):
                call()


@needs_kernel
@pytest.mark.parametrize("size", [[-1, 4, 7, 6], [2, 4, -7, 6], [2, 4, 7], []], ids=str)
def test_the_gradient_of_the_input_checks_the_size_that_it_is_given(size):
    a = arguments(2)
    with pytest.raises(RuntimeError, match="PyConv"):
        torch.ops.nnunet_pyconv.native_input_gradient(
            torch.randn(2, 8, 4, 3), a["weights"], a["groups"], a["stride"], size, []
        )


@needs_kernel
@pytest.mark.parametrize("device", ["cpu", "meta"])
@pytest.mark.parametrize(
    "geometry",
    [
        [0, 1, 1],
        [0, 1, 1, 0, 1],
        [0, 1, 1, 0, 0, 1],
        [0, 1, 1, 0, -1, 1],
        [0, 1, 1, 1, 1, 1],
        [-1, 1, 1, 0, 1, 1],
        [0, 1, 1, 4, 1, 1],
        [0, 1, 1, 1 << 62, 1, 1],
        [0, 1, 1, 0, 1 << 62, 1],
    ],
    ids=str,
)
def test_the_operators_check_the_geometry(geometry, device):
    x, weights, biases, groups, stride = (to_meta(a) if device == "meta" else a for a in arguments(2).values())
    gradient = to_meta(torch.randn(2, 8, 4, 3)) if device == "meta" else torch.randn(2, 8, 4, 3)
    native = torch.ops.nnunet_pyconv
    for call in (
        lambda: native.native(x, weights, biases, groups, stride, geometry),
        lambda: native.native_input_gradient(gradient, weights, groups, stride, list(x.shape), geometry),
        lambda: native.native_weight_gradient(gradient, x, weights, groups, stride, geometry),
    ):
        with pytest.raises(RuntimeError, match="PyConv"):
            call()


HAND_CHANGES: dict[str, Callable[[Any], None]] = {
    "one level without bias": lambda layer: setattr(layer.levels[1], "bias", None),
    "other padding": lambda layer: setattr(layer.levels[1], "padding", (0, 0)),
    "other stride": lambda layer: setattr(layer.levels[1], "stride", (2, 2)),
    "other inputs": lambda layer: layer.levels.__setitem__(1, nn.Conv2d(4, 4, 5, padding=2)),
    "other dtype": lambda layer: layer.levels[1].double(),
    "no levels": lambda layer: setattr(layer, "levels", nn.ModuleList()),
    "something else": lambda layer: layer.levels.__setitem__(1, nn.Identity()),
    "one with a volume's kernel": lambda layer: layer.levels.__setitem__(1, nn.Conv3d(8, 4, 5, padding=2)),
    "forward of its own": lambda layer: setattr(layer.levels[1], "forward", lambda x: x[:, :4] * 2),
    "wider": lambda layer: layer.levels.__setitem__(1, nn.Conv2d(8, 12, 5, padding=2)),
}


@pytest.mark.parametrize("setting", BACKENDS)
@pytest.mark.parametrize("change", HAND_CHANGES)
def test_a_layer_changed_by_hand_is_what_its_levels_are(setting, change):
    layer, x = PyConv2d(8, 8, Pyramid((3, 5)), bias=True), torch.randn(2, 8, 9, 12)
    HAND_CHANGES[change](layer)
    expected = outcome(lambda: torch.cat([level(x) for level in layer.levels], dim=1))
    with use_backend(setting):
        assert_same(outcome(lambda: layer(x)), expected)


@pytest.mark.parametrize("setting", BACKENDS)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
@pytest.mark.parametrize(
    "size", [(2, 8, 9, 7), (8, 9, 7), (0, 8, 9, 7), (2, 7, 9, 7), (4, 9, 7), (8, 9), (1, 2, 8, 9, 7), (8,)], ids=str
)
def test_shares_are_convolved_like_a_depthwise_convolution(setting, size, dtype):
    layer, x = PyConv2d(8, 8, Pyramid((3, 3), depthwise=True), bias=True), torch.randn(size, dtype=dtype)
    conv = nn.Conv2d(8, 8, 3, padding=1, groups=8)
    for name, parameter in conv.named_parameters():
        parameter.data = torch.cat([getattr(level, name).data for level in layer.levels])
    with use_backend(setting):
        assert_same(outcome(lambda: layer(x)), outcome(lambda: conv(x)))


@pytest.mark.parametrize("setting", BACKENDS)
@pytest.mark.parametrize("no_grad", [False, True], ids=["", "no_grad"])
def test_transforms_of_torch_func(setting, no_grad):
    layer, x, tangent = PyConv2d(8, 8, Pyramid((3, 5))), torch.randn(2, 8, 9, 8), torch.randn(2, 8, 9, 8)
    with use_backend(setting), torch.set_grad_enabled(not no_grad):
        # the layer is linear
        torch.testing.assert_close(torch.func.jvp(layer, (x,), (tangent,))[1], layer(tangent))
        torch.testing.assert_close(torch.vmap(layer)(x), layer(x))
        torch.testing.assert_close(torch.vmap(layer)(x[None])[0], layer(x))
        with forward_ad.dual_level():
            y = forward_ad.unpack_dual(layer(forward_ad.make_dual(x, tangent)))
        torch.testing.assert_close(y.tangent, layer(tangent))
    x.requires_grad_()
    with use_backend(setting):
        (expected,) = torch.autograd.grad(layer(x).square().sum(), x)
        result = torch.func.grad(lambda z: layer(z).square().sum())(x)
    torch.testing.assert_close(result, expected, rtol=1e-4, atol=1e-4)


@needs_kernel
@pytest.mark.parametrize("needs_gradient", [False, True])
def test_the_operators_refuse_to_drop_tangents(needs_gradient):
    a = arguments(2)
    x = a.pop("x").requires_grad_(needs_gradient)
    with pytest.raises(NotImplementedError, match="no forward-mode derivative"):
        torch.func.jvp(lambda x: torch.ops.nnunet_pyconv.native(x, *a.values(), []), (x,), (torch.ones_like(x),))


@pytest.mark.slow
@pytest.mark.parametrize("setting", BACKENDS)
def test_compiled_functions_derive_and_refuse_alike(setting):
    layer, x, tangent = PyConv2d(8, 8, Pyramid((3, 5))), torch.randn(2, 8, 9, 8), torch.randn(2, 8, 9, 8)
    torch._dynamo.reset()
    with use_backend(setting):
        plain = torch.compile(layer, backend="aot_eager", fullgraph=True)
        torch.testing.assert_close(plain(x), layer(x))
        derived = torch.compile(lambda x, t: torch.func.jvp(layer, (x,), (t,))[1], backend="aot_eager", fullgraph=True)
        torch.testing.assert_close(derived(x, tangent), layer(tangent))
        with pytest.raises(RuntimeError, match="8 channels"):
            torch.compile(layer, backend="aot_eager")(x[:, 1:])
        torch.testing.assert_close(plain(x), layer(x))


@pytest.mark.filterwarnings("ignore:.*torch.jit.* is deprecated")
@pytest.mark.parametrize("layer_type", [PyConv2d, PyConv3d])
@pytest.mark.parametrize("depthwise", [False, True])
def test_torchscript_records_the_levels(layer_type, depthwise):
    network = nn.Sequential(layer_type(4, 4, Pyramid((3, 5), depthwise=depthwise), bias=True), nn.ReLU())
    x = torch.randn(2, 4, *(7, 6, 5)[: layer_type._dim])
    scripted, file = torch.jit.script(network), io.BytesIO()
    assert list(scripted.state_dict()) == list(network.state_dict())
    torch.jit.save(scripted, file)
    file.seek(0)
    for module in (scripted, torch.jit.load(file)):
        torch.testing.assert_close(module(x), network(x))
        torch.testing.assert_close(module(x[0]), network(x[0]))
