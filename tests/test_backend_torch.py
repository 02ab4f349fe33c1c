"""The backends inside torch's machinery: compile, autocast, checkpointing, DDP, deterministic mode, derivatives."""

from __future__ import annotations

import pytest
import torch
from backends import NATIVE, needs_kernel
from torch.utils.checkpoint import checkpoint
from torch.utils.flop_counter import FlopCounterMode

from nnunet_pyconv.nn import PyConv2d, PyConv3d, Pyramid
from nnunet_pyconv.nn.backends import use_backend

BACKENDS = [NATIVE, "fold", "reference"]


@pytest.fixture
def layer():
    return PyConv2d(16, 16, bias=True)


@pytest.fixture
def x():
    return torch.randn(2, 16, 30, 41, requires_grad=True)


def gradients(y, x, layer):
    return torch.autograd.grad(y.float().square().sum(), [x, *layer.parameters()])


@pytest.mark.slow
@pytest.mark.parametrize("setting", BACKENDS)
@pytest.mark.parametrize("dynamic", [False, pytest.param(True, marks=pytest.mark.long)])
def test_compile_has_no_graph_break(setting, dynamic, layer, x):
    torch._dynamo.reset()
    with use_backend(setting):
        compiled = torch.compile(layer, fullgraph=True, dynamic=dynamic, backend="aot_eager")
        y, expected = compiled(x), layer(x)
        torch.testing.assert_close(y, expected)
        for a, b in zip(gradients(y, x, layer), gradients(expected, x, layer), strict=True):
            torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-4)
        other = torch.randn(1, 16, 23, 19)
        torch.testing.assert_close(compiled(other), layer(other))


@needs_kernel
def test_operator_keeps_its_contract():
    for layer, x in (
        (PyConv2d(8, 8, bias=True, stride=2), torch.randn(2, 8, 19, 22, requires_grad=True)),
        (PyConv3d(4, 4, Pyramid((3, 5))), torch.randn(1, 4, 6, 7, 18)),
    ):
        arguments = (
            x,
            [level.weight for level in layer.levels],
            [level.bias for level in layer.levels if level.bias is not None],
            [level.groups for level in layer.levels],
            list(layer.stride),
            [],
        )
        torch.library.opcheck(torch.ops.nnunet_pyconv.native.default, arguments)


@pytest.mark.parametrize("setting", BACKENDS)
def test_autocast(setting, layer, x):
    with use_backend(setting), torch.autocast("cpu", dtype=torch.bfloat16):
        y = layer(x)
    assert y.dtype == torch.bfloat16
    with use_backend("reference"):
        expected = layer(x)
    torch.testing.assert_close(y.float(), expected, rtol=0.02, atol=0.02)
    for result, reference in zip(gradients(y, x, layer), gradients(expected, x, layer), strict=True):
        assert result.dtype == torch.float32
        torch.testing.assert_close(result, reference, rtol=0.03, atol=0.03 * float(reference.abs().max()))


@pytest.mark.parametrize("setting", BACKENDS)
def test_autocast_takes_weights_of_the_other_half_precision(setting, layer, x):
    with use_backend(setting), torch.autocast("cpu", dtype=torch.bfloat16):
        assert layer.half()(x).dtype == torch.bfloat16


@pytest.mark.parametrize("setting", BACKENDS)
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_weights(setting, dtype, layer):
    x = torch.randn(1, 16, 20, 20)
    with torch.no_grad(), use_backend(setting):
        y = layer.to(dtype)(x.to(dtype))
        assert y.dtype == dtype
        torch.testing.assert_close(y.float(), layer.float()(x), rtol=0.03, atol=0.03)


@pytest.mark.parametrize("setting", BACKENDS)
@pytest.mark.parametrize("reentrant", [False, True])
def test_checkpoint(setting, reentrant, layer, x):
    with use_backend(setting):
        y = checkpoint(layer, x, use_reentrant=reentrant)
        y.square().sum().backward()
        result = [x.grad, *(p.grad for p in layer.parameters())]
        for a, b in zip(result, gradients(layer(x), x, layer), strict=True):
            torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("setting", BACKENDS)
def test_deterministic_mode(setting, layer, x):
    torch.use_deterministic_algorithms(True)
    try:
        with use_backend(setting):
            first, second = (gradients(layer(x), x, layer) for _ in range(2))
    finally:
        torch.use_deterministic_algorithms(False)
    assert all(torch.equal(a, b) for a, b in zip(first, second, strict=True))


def test_ddp(layer, x, tmp_path):
    torch.distributed.init_process_group("gloo", init_method=f"file://{tmp_path / 'store'}", rank=0, world_size=1)
    try:
        parallel = torch.nn.parallel.DistributedDataParallel(layer)
        parallel(x).square().sum().backward()
    finally:
        torch.distributed.destroy_process_group()
    result = [p.grad.clone() for p in layer.parameters()]
    for a, b in zip(result, gradients(layer(x), x, layer)[1:], strict=True):
        torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-4)


@needs_kernel
def test_second_derivative_is_refused_with_a_way_out(layer, x):
    with use_backend("native"):
        (gradient,) = torch.autograd.grad(layer(x).square().sum(), x, create_graph=True)
    with pytest.raises(NotImplementedError, match=r'no second derivative.*use_backend\("reference"\)'):
        gradient.sum().backward()


@pytest.mark.parametrize("setting", ["fold", "reference"])
def test_second_derivative(setting, layer, x):
    with use_backend(setting):
        (gradient,) = torch.autograd.grad(layer(x).square().sum(), x, create_graph=True)
        gradient.sum().backward()
    assert all(p.grad is not None for p in layer.levels[0].parameters() if p.dim() > 1)


@needs_kernel
@pytest.mark.skipif(torch.__version__.startswith("2.4."), reason="torch 2.4 counts its own operators only")
def test_operations_are_counted(layer, x):
    pixels = 2 * 30 * 41
    expected = 2 * pixels * sum(level.weight.numel() for level in layer.levels)
    for setting in ("reference", "native"):
        with use_backend(setting), FlopCounterMode(display=False) as counter:
            y = layer(x)
        assert counter.get_total_flops() == expected
    with FlopCounterMode(display=False) as counter:
        y.sum().backward()
    assert counter.get_total_flops() == 2 * expected
