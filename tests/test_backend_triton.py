"""The Triton kernels: computed by Triton's interpreter, without a GPU, and compiled for real ones.

The interpreter has to be chosen before Triton is imported. So the tests of results run in a second pytest, which
`test_in_the_interpreter` starts with `TRITON_INTERPRET=1`.
"""

from __future__ import annotations

import math
import os
import subprocess
import sys
from dataclasses import replace

import pytest
import torch
from backends import assert_agrees
from hypothesis import given, settings
from hypothesis import strategies as st

from nnunet_pyconv.nn import DEPTHWISE, DILATED, PyConv2d, PyConv3d, Pyramid
from nnunet_pyconv.nn.backends import available_backends, choice, use_backend
from nnunet_pyconv.nn.backends.reference import convolve_levels
from nnunet_pyconv.nn.backends.spec import levels_of
from nnunet_pyconv.nn.backends.table import table_of
from nnunet_pyconv.nn.backends.triton import autotune, cuts, tiles
from nnunet_pyconv.nn.backends.triton import backend as triton_backend

pytest.importorskip("triton", reason="Triton, which comes with PyTorch for CUDA on Linux, is not installed")

INTERPRETED = os.environ.get("TRITON_INTERPRET") == "1"
interpreted = pytest.mark.skipif(not INTERPRETED, reason="runs in the interpreter, started by test_in_the_interpreter")
compiled = pytest.mark.skipif(INTERPRETED, reason="runs outside of the interpreter")


def long_case(*parameters):
    return pytest.param(*parameters, marks=pytest.mark.long)


@compiled
@pytest.mark.parametrize("chosen", [pytest.param("not long", marks=pytest.mark.slow), long_case("long")])
def test_in_the_interpreter(chosen):
    command = [sys.executable, "-m", "pytest", "-q", "-n", "0", "-m", chosen, "-p", "no:cacheprovider", __file__]
    done = subprocess.run(command, env={**os.environ, "TRITON_INTERPRET": "1"}, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-2000:]


@interpreted
@pytest.mark.parametrize(
    ("channels", "size", "kernels", "stride"),
    [
        long_case((16, 16), (3, 5), (3, 5, 7, 9), 1),
        ((16, 16), (6, 5), (3, 5), 2),
        ((4, 8), (7, 6), (3, 5, 7), (2, 1)),
        ((3, 7), (4, 11), (3, 5), 3),
        ((1, 16), (8, 8), (3, 9), 1),
        long_case((64, 64), (1, 2), (5,), 1),
        long_case((8, 8), (1, 1), (3, 5, 7), 1),
        ((8, 8), (1, 9), ((1, 3), (1, 9)), 1),
    ],
    ids=str,
)
def test_agrees_in_2d(channels, size, kernels, stride):
    layer = PyConv2d(*channels, Pyramid(kernels, groups=(16,) if kernels == (5,) else None), stride=stride, bias=True)
    assert_agrees("triton", layer, torch.randn(2 if size == (8, 8) else 1, channels[0], *size, requires_grad=True))


@interpreted
@pytest.mark.parametrize(
    ("kernels", "stride"),
    [long_case((3, 5), 1), ((3, 5), 2), (((1, 3, 3), (1, 5, 5)), (1, 2, 2)), (((3, 1, 1), (5, 1, 1)), 1)],
)
def test_agrees_in_3d(kernels, stride):
    layer = PyConv3d(4, 8, Pyramid(kernels), stride=stride)
    assert_agrees("triton", layer, torch.randn(2, 4, 3, 4, 5, requires_grad=True))


@interpreted
@pytest.mark.parametrize(
    ("channels", "size", "pyramid", "stride"),
    [
        long_case((16, 16), (5, 9), DILATED, 1),
        ((8, 12), (7, 10), DILATED, 2),
        ((3, 8), (11, 4), DILATED, (3, 1)),
        ((4, 4), (6, 7), Pyramid((3, 5, (1, 3)), dilations=((1, 2), 2, (1, 5))), (1, 2)),
        ((8, 8), (7, 6), DEPTHWISE, 1),
        ((6, 6), (5, 9), Pyramid((3, 7), depthwise=True), 2),
        ((5, 5), (4, 8), Pyramid((3, 5), depthwise=True, dilations=(2, 1)), (1, 3)),
    ],
    ids=str,
)
def test_agrees_for_dilation_and_shares_in_2d(channels, size, pyramid, stride):
    layer = PyConv2d(*channels, pyramid, stride=stride, bias=True)
    assert_agrees("triton", layer, torch.randn(2, channels[0], *size, requires_grad=True))


@interpreted
@pytest.mark.parametrize("stride", [1, 2, (1, 2, 2)], ids=str)
@pytest.mark.parametrize(
    "pyramid",
    [Pyramid((3, 3), groups=(1, 1), dilations=(1, 2)), Pyramid((3, (1, 5, 5)), depthwise=True)],
    ids=["dilated", "depthwise"],
)
def test_agrees_for_dilation_and_shares_in_3d(pyramid, stride):
    assert_agrees("triton", PyConv3d(8, 8, pyramid, stride=stride), torch.randn(1, 8, 3, 4, 5, requires_grad=True))


@interpreted
@pytest.mark.parametrize(
    "change",
    [
        lambda x: x.contiguous(memory_format=torch.channels_last),
        lambda x: x.transpose(2, 3),
        lambda x: x[:, ::2, 1:, ::2],
        lambda x: x[:1, :1].expand(2, 4, -1, -1),
    ],
    ids=["channels_last", "transposed", "sliced", "expanded"],
)
def test_agrees_for_any_strides(change):
    x = change(torch.randn(2, 8, 5, 6))
    assert_agrees("triton", PyConv2d(x.shape[1], 4, Pyramid((3, 5))), x.detach().requires_grad_())


@pytest.mark.long
@interpreted
@settings(max_examples=5, deadline=None, derandomize=True)
@given(data=st.data())
def test_agrees_for_random_layers(data):
    dim = data.draw(st.sampled_from([2, 2, 3]), "dim")
    in_channels = data.draw(st.integers(1, 6), "in_channels") * data.draw(st.sampled_from([1, 2]), "times")
    out_channels = data.draw(st.sampled_from([1, 2, 5, 8, 12]), "out_channels")
    kernels = data.draw(st.lists(st.sampled_from([1, 3, 5]), min_size=1, max_size=2), "kernels")
    stride = data.draw(st.lists(st.integers(1, 3), min_size=dim, max_size=dim), "stride")
    size = data.draw(st.lists(st.integers(1, 7 if dim == 2 else 4), min_size=dim, max_size=dim), "size")
    layer = (PyConv2d if dim == 2 else PyConv3d)(in_channels, out_channels, Pyramid(kernels), stride=stride)
    assert_agrees("triton", layer, torch.randn(1, in_channels, *size, requires_grad=True))


@interpreted
def test_half_precision():  # not bfloat16, whose products Triton's interpreter gets wrong
    layer = PyConv2d(8, 8, Pyramid((3, 5)), bias=True).half()
    x = torch.randn(1, 8, 4, 7).half().requires_grad_()
    assert_agrees("triton", layer, x, tolerance=2e-3)


@interpreted
def test_autocast_computes_in_half_precision():
    layer, x = PyConv2d(8, 8, Pyramid((3, 5))), torch.randn(1, 8, 4, 7, requires_grad=True)
    with use_backend("reference"):
        expected = layer(x)
    with use_backend("triton"), torch.autocast("cpu", dtype=torch.float16):
        y = layer(x)
    assert y.dtype == torch.float16
    torch.testing.assert_close(y.float(), expected, rtol=1e-2, atol=1e-2)
    y.float().sum().backward()
    assert x.grad.dtype == layer.levels[0].weight.grad.dtype == torch.float32


@interpreted
def test_deterministic_mode():
    layer, x = PyConv2d(8, 8, Pyramid((3, 5))), torch.randn(1, 8, 4, 7, requires_grad=True)
    torch.use_deterministic_algorithms(True)
    try:
        with use_backend("triton"):
            first, second = (torch.autograd.grad(layer(x).square().sum(), [x, *layer.parameters()]) for _ in range(2))
    finally:
        torch.use_deterministic_algorithms(False)
    assert all(torch.equal(a, b) for a, b in zip(first, second, strict=True))


@interpreted
def test_operator_keeps_its_contract():
    layer, x = PyConv2d(4, 4, Pyramid((3, 5)), bias=True, stride=2), torch.randn(1, 4, 4, 5, requires_grad=True)
    weights, biases = ([getattr(level, name) for level in layer.levels] for name in ("weight", "bias"))
    arguments = (x, weights, biases, [level.groups for level in layer.levels], list(layer.stride), [])
    torch.library.opcheck(torch.ops.nnunet_pyconv.triton.default, arguments)


@interpreted
def test_compile_has_no_graph_break():
    layer, x = PyConv2d(4, 4, Pyramid((3, 5))), torch.randn(1, 4, 5, 6, requires_grad=True)
    with use_backend("triton"):
        y = torch.compile(layer, fullgraph=True, backend="aot_eager")(x)
        torch.testing.assert_close(y, layer(x))
        y.sum().backward()


@interpreted
def test_second_derivative_is_refused_with_a_way_out():
    layer, x = PyConv2d(4, 4, Pyramid((3,))), torch.randn(1, 4, 4, 5, requires_grad=True)
    with use_backend("triton"):
        (gradient,) = torch.autograd.grad(layer(x).square().sum(), x, create_graph=True)
    with pytest.raises(NotImplementedError, match=r'"triton".*no second derivative.*use_backend\("reference"\)'):
        gradient.sum().backward()


@pytest.mark.slow
@compiled
@pytest.mark.parametrize("capability", [80, 90], ids=lambda c: f"sm_{c}")
@pytest.mark.parametrize("dtype", ["fp16", "bf16", "fp32"])
def test_compiles_for_a_gpu_that_is_not_here(capability, dtype, monkeypatch, tmp_path):
    """As launched for 64 channels, with 16-byte alignment; four channels are copied at once to shared memory."""
    compiler = pytest.importorskip("triton.backends.compiler")
    import triton

    from nnunet_pyconv.nn.backends.triton import kernels as triton_kernels

    if tuple(map(int, triton.__version__.split(".")[:2])) < (3, 3):
        pytest.skip("this test is written for the compiler's interface of Triton 3.3 or newer")
    monkeypatch.setenv("TRITON_CACHE_DIR", str(tmp_path))
    half = dtype != "fp32"
    constants = {"PLANAR": True, "PRECISION": "tf32", "COLUMNS": 32, "VECTOR": 4}
    for kernel, others in (
        (triton_kernels.convolve, {"HAS_BIAS": True, "BLOCKS": 128, "ROWS": 64 if half else 32}),
        (triton_kernels.weight_gradient, {"BLOCKS": 32 if half else 16, "ROWS": 128}),
        (triton_kernels.arrange_weights, {"ROWS": cuts.ROWS, "BACKWARD": True}),
        (triton_kernels.collect_weight_gradient, {"SIZE": 128}),
    ):
        all_constants = {name: c for name, c in {**constants, **others}.items() if name in kernel.arg_names}
        pointers = {"source": dtype, "arranged": dtype, "target": dtype, "gradient": dtype, "bias": "fp32"}
        pointers |= {"gradients": dtype} if "level" in kernel.arg_names else {"weights": dtype}
        pointers |= {"sums": "fp32", "sets": "i32", "parts": "i32", "window": "i32"}
        signature = {
            name: "constexpr" if name in all_constants else "*" + pointers[name] if name in pointers else "i32"
            for name in kernel.arg_names
        }
        aligned = {(i,): [["tt.divisibility", 16]] for i, name in enumerate(kernel.arg_names) if name in pointers}
        source = triton.compiler.ASTSource(kernel, signature, constexprs=all_constants, attrs=aligned)
        binary = triton.compile(
            source,
            target=compiler.GPUTarget("cuda", capability, 32),
            options={"num_warps": triton_backend.WARPS, "num_stages": triton_backend.STAGES},
        )
        assert binary.asm["cubin"]
        assert binary.metadata.shared <= 99 * 1024  # what a GPU for consumers has
        assert ("mma" in binary.asm["ptx"]) == ("PRECISION" in all_constants)  # tensor cores
        if kernel is triton_kernels.convolve:
            assert f"cp.async.c{'a' if half else 'g'}.shared.global" in binary.asm["ptx"]


@pytest.fixture
def another_machine():
    triton_backend.unavailable_because.cache_clear()
    yield
    triton_backend.unavailable_because.cache_clear()


@compiled
@pytest.mark.usefixtures("another_machine")
def test_without_a_gpu(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert available_backends()["triton"] == "it needs an NVIDIA GPU and PyTorch for CUDA"
    with use_backend("triton"), pytest.raises(ValueError, match=r'"triton" was asked for, but .* not on cpu.*"auto"'):
        PyConv2d(8, 8)(torch.randn(1, 8, 9, 9))


@compiled
@pytest.mark.usefixtures("another_machine")
def test_without_triton(monkeypatch):
    monkeypatch.setattr(triton_backend.importlib.util, "find_spec", lambda name: None)
    assert "Triton is not installed" in available_backends()["triton"]


def work_for(x, pyramid=None):
    return PyConv2d(8, 8, pyramid or Pyramid()).to(x.dtype).workload(x)


def by_reference(x, weights, biases, groups, stride, geometry):
    return convolve_levels(x, weights, levels_of(weights, groups, geometry), stride)


@pytest.fixture
def fastest(monkeypatch, tmp_path):
    """`autotune.fastest` with times that the test gives; counts the measurements."""
    monkeypatch.setenv("NNUNET_PYCONV_CACHE", str(tmp_path))
    table_of.cache_clear()
    autotune._warn_once.cache_clear()
    monkeypatch.setattr(autotune, "triton_levels", by_reference)
    measured = []

    def ask(triton_ms, levels_ms, size=(1, 8, 9, 9), trained=False, dtype=torch.float32, pyramid=None):
        turns = iter(enumerate((triton_ms, levels_ms, levels_ms)))

        def fake(function, warm_up=3, times=5):
            turn, time = next(turns)
            assert torch.backends.cudnn.benchmark == (turn == 2)
            measured.append(function)
            if isinstance(time, Exception):
                raise time
            return time

        monkeypatch.setattr(autotune, "milliseconds", fake)
        return autotune.fastest(work_for(torch.empty(size, dtype=dtype), pyramid), trained)

    ask.measured = measured
    yield ask
    table_of.cache_clear()


def test_the_faster_one_is_taken_and_remembered(fastest):
    assert fastest(1.0, 2.0) == "triton"
    assert fastest(3.0, 2.0) == "triton"  # as measured before
    assert len(fastest.measured) == 3
    assert fastest(3.0, 2.0, size=(2, 8, 9, 9)) == "reference"
    assert fastest(3.0, 2.0, trained=True) == "reference"
    assert fastest(3.0, 2.0, dtype=torch.float16) == "reference"
    assert len(fastest.measured) == 12
    assert fastest(1.0, 2.0, pyramid=DILATED) == fastest(1.0, 2.0, trained=True, pyramid=DEPTHWISE) == "triton"
    assert fastest(3.0, 2.0, pyramid=replace(DILATED, dilations=(1, 2, 3, 5))) == "reference"
    assert not torch.backends.cudnn.benchmark  # as before


def test_no_search_for_what_is_much_slower(fastest):
    assert fastest(1.0, 4.0) == "triton"
    assert len(fastest.measured) == 2


@pytest.mark.slow
@compiled
def test_what_is_compared_fits_into_half_precision(fastest):
    assert fastest(1.0, 4.0, size=(1, 8, 512, 512), trained=True, dtype=torch.float16) == "triton"


def test_kernels_that_compute_something_else_are_left_with_a_warning(fastest, monkeypatch):
    monkeypatch.setattr(autotune, "triton_levels", lambda *arguments: 1.1 * by_reference(*arguments))
    with pytest.warns(UserWarning, match=r"reference backend.*differs"):
        assert fastest(1.0, 2.0) == "reference"
    assert not fastest.measured


def test_what_is_measured_is_a_whole_step(fastest):
    fastest(2.0, 1.0, trained=True)
    fastest.measured[1]()  # the reference, forward and backward


def test_kernels_that_fail_are_left_with_one_warning(fastest):
    with pytest.warns(UserWarning, match=r"reference backend.*RuntimeError: no C compiler"):
        assert fastest(RuntimeError("no C compiler\nmore"), 1.0) == "reference"
    assert fastest(RuntimeError("no C compiler"), 1.0, trained=True) == "reference"  # a second one would be an error
    assert fastest(1.0, 2.0) == "reference"  # in this process
    table_of.cache_clear()
    assert fastest(1.0, 2.0) == "triton"  # there may be a compiler now


@pytest.mark.parametrize(("deterministic", "expected"), [(False, "measured"), (True, "reference")])
def test_choice_on_a_gpu(deterministic, expected, monkeypatch):
    x = torch.empty(1, 8, 32, 32)
    monkeypatch.setattr(choice, "_triton_machine_refusal", lambda: None)
    monkeypatch.setattr(autotune, "fastest", lambda *arguments, **options: "measured")
    monkeypatch.setattr(choice, "_can_measure", lambda x: True)
    torch.use_deterministic_algorithms(deterministic)
    try:
        assert choice.choose(replace(work_for(x), device=torch.device("cuda")), x) == expected
    finally:
        torch.use_deterministic_algorithms(False)


@pytest.mark.parametrize("backward", [False, True], ids=["forward", "backward"])
@pytest.mark.parametrize("pyramid", [Pyramid(), DILATED, DEPTHWISE], ids=["plain", "dilated", "depthwise"])
@pytest.mark.parametrize("channels", [8, 32, 64, 256])
def test_tiles_of_a_layer(channels, pyramid, backward):
    levels = pyramid.levels(channels, channels, 2)
    layout = tiles.lay_out(levels, (1, 1, 1), backward, 8, torch.device("cpu"))
    sets = layout.sets.tolist()
    targets = sorted(s[3] + t * s[5] + c for s in sets for t in range(s[0]) for c in range(s[5]))
    assert targets == list(range(channels))  # each target channel in one tile
    for (
        tile_count,
        rows,
        first_row,
        *_,
    ) in sets:
        taken = layout.window[first_row // layout.vector : (first_row + tile_count * rows) // layout.vector]
        assert int(taken.max()) >> 18 < channels * layout.pixels // layout.vector
    needed = sum(math.prod(level.kernel_size) * level.inputs * level.out_channels for level in levels)
    assert layout.rows * layout.columns >= needed
