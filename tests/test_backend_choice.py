"""Which backend is chosen, how to force one, and where only the reference will do."""

from __future__ import annotations

import io
import subprocess
import sys
from dataclasses import replace

import pytest
import torch
from backends import needs_kernel
from torch import nn

from nnunet_pyconv.architectures import PyConvUNet
from nnunet_pyconv.nn import PyConv2d, PyConv3d, Pyramid
from nnunet_pyconv.nn.backends import available_backends, use_backend
from nnunet_pyconv.nn.backends.choice import choose
from nnunet_pyconv.nn.backends.contract import describe
from nnunet_pyconv.nn.backends.native import build, kernel
from nnunet_pyconv.nn.pyramid import DILATED


@pytest.fixture
def x():
    return torch.randn(1, 32, 48, 48)


@pytest.fixture
def no_kernel(monkeypatch):
    monkeypatch.setattr(kernel, "_library", lambda: "no C compiler found")


@needs_kernel
@pytest.mark.parametrize(
    ("channels", "size", "expected"),
    [(32, 48, "native"), (512, 16, "reference"), (256, 4, "reference"), (128, 64, "native"), (64, 8, "native")],
)
def test_auto_with_the_kernel(channels, size, expected):
    assert PyConv2d(channels, channels).backend_for(torch.empty(1, channels, size, size)) == expected


@pytest.mark.parametrize(("channels", "size", "expected"), [(32, 48, "fold"), (512, 16, "reference")])
@pytest.mark.usefixtures("no_kernel")
def test_auto_without_the_kernel(channels, size, expected):
    assert PyConv2d(channels, channels).backend_for(torch.empty(1, channels, size, size)) == expected


@pytest.mark.usefixtures("no_kernel")
def test_a_forced_kernel_that_is_missing_is_an_error(x):
    assert available_backends()["native"] == "no C compiler found"
    with use_backend("native"), pytest.raises(ValueError, match="no C compiler found"):
        PyConv2d(32, 32)(x)


def test_unknown_setting(monkeypatch, x):
    with pytest.raises(ValueError, match=r"'fastest'.*expected auto, .*triton, reference"), use_backend("fastest"):
        pass
    monkeypatch.setattr("nnunet_pyconv.nn.backends.choice._setting", "quick")  # as from the environment variable
    with pytest.raises(ValueError, match=r"'quick'.*NNUNET_PYCONV_BACKEND"):
        PyConv2d(32, 32)(x)


@pytest.mark.slow
def test_environment_variable_in_a_process_without_nnunet(monkeypatch):
    monkeypatch.setenv("NNUNET_PYCONV_BACKEND", "fold")
    code = (
        "import sys, torch; from nnunet_pyconv import PyConv2d\n"
        "print(PyConv2d(32, 32).backend_for(torch.ones(1, 32, 40, 40)), 'nnunetv2' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "fold False\n"


def test_blocks_nest_and_survive_errors(x):
    layer = PyConv2d(32, 32)
    with use_backend("fold"):
        with use_backend("reference"):
            assert layer.backend_for(x) == "reference"
        with pytest.raises(ZeroDivisionError), use_backend("reference"):
            _ = 1 / 0
        assert layer.backend_for(x) == "fold"


def test_float64_and_other_devices(x):
    layer = PyConv2d(32, 32)
    assert layer.double().backend_for(x.double()) == "fold"
    assert layer.to("meta").backend_for(x.to("meta")) == "reference"
    with use_backend("native"), pytest.raises(ValueError, match=r"computes in float32, not in torch\.float64"):
        PyConv2d(32, 32).double()(x.double())


@pytest.mark.parametrize("setting", ["native", "triton"])
def test_device_of_apple(setting):
    """Neither a CPU nor CUDA: the reference, and what is forced in vain is named. No such tensor can be made here."""
    x = torch.empty(1, 32, 48, 48)
    work = replace(describe(x, [torch.empty(8, 32, 3, 3)], [], [1], [1, 1]), device=torch.device("mps"))
    assert choose(work, x) == "reference"
    with use_backend(setting), pytest.raises(ValueError, match='not on mps; use "auto"'):
        choose(work, x)


def test_network_on_another_device_makes_nothing_on_the_cpu():
    with torch.device("meta"):
        network = PyConvUNet(1, 3, (8, 16, 32), deep_supervision=True)
        outputs = network(torch.empty(2, 1, 30, 34))  # a size that is padded
        sum(output.sum() for output in outputs).backward()
    assert {parameter.grad.device.type for parameter in network.parameters()} == {"meta"}


@needs_kernel
@pytest.mark.parametrize(
    ("channels", "size", "expected"),
    [(64, 64, "native"), (64, 24, "reference"), (128, 12, "reference"), (32, 12, "native"), (512, 64, "reference")],
)
def test_auto_with_dilation(channels, size, expected):
    assert PyConv2d(channels, channels, DILATED).backend_for(torch.empty(1, channels, size, size)) == expected


@needs_kernel
@pytest.mark.parametrize(
    ("channels", "size", "trained", "in_inference"),
    [
        (64, 32, "native", "native"),
        (64, 8, "reference", "reference"),
        (128, 64, "native", "reference"),  # the library's backward pass loses more
        (128, 16, "reference", "reference"),
        (256, 64, "native", "reference"),
        (256, 32, "reference", "reference"),
    ],
)
def test_auto_with_dilation_and_a_stride(channels, size, trained, in_inference):
    layer, x = PyConv2d(channels, channels, DILATED, stride=2), torch.empty(1, channels, size, size)
    assert layer.backend_for(x) == trained
    with torch.no_grad():
        assert layer.backend_for(x) == in_inference


@needs_kernel
@pytest.mark.parametrize(
    ("channels", "width", "trained", "in_inference"),
    [(32, 64, "native", "native"), (64, 64, "native", "fold"), (64, 20, "fold", "fold"), (128, 32, "fold", "fold")],
)
def test_auto_with_dilation_in_3d(channels, width, trained, in_inference):
    layer, x = PyConv3d(channels, channels, DILATED), torch.empty(1, channels, 8, 8, width)
    assert layer.backend_for(x) == trained
    with torch.no_grad():
        assert layer.backend_for(x) == in_inference


@pytest.mark.usefixtures("no_kernel")
def test_auto_with_dilation_in_3d_without_the_kernel():
    x = torch.empty(1, 32, 8, 8, 8)
    assert PyConv3d(32, 32, DILATED).backend_for(x) == "fold"
    assert PyConv3d(32, 32, DILATED, stride=2).backend_for(x) == "reference"  # phases need a stride of 1


@needs_kernel
def test_dilation_and_shares_take_the_kernel(x):
    assert PyConv2d(32, 32, Pyramid((3, 3), dilations=(1, 2))).backend_for(x) == "native"
    assert PyConv2d(32, 32, Pyramid((3, 5), depthwise=True)).backend_for(x) == "native"


@pytest.mark.usefixtures("no_kernel")
def test_dilation_and_shares_take_the_reference_without_the_kernel(x):
    assert PyConv2d(32, 32, Pyramid((3, 3), dilations=(1, 2))).backend_for(x) == "reference"
    assert PyConv2d(32, 32, Pyramid((3, 5), depthwise=True)).backend_for(x) == "reference"


def test_hooks_take_the_reference(x):
    layer, seen = PyConv2d(32, 32), []
    layer.levels[1].register_forward_hook(lambda *_: seen.append(1))
    assert layer.backend_for(x) == "reference"
    layer(x)
    assert seen == [1]


def test_a_replaced_level_is_respected(x):
    class Doubled(nn.Conv2d):
        def forward(self, x):
            return 2 * super().forward(x)

    layer = PyConv2d(32, 32)
    level = layer.levels[0]
    layer.levels[0] = Doubled(32, 8, 3, padding=1, bias=False)
    layer.levels[0].load_state_dict(level.state_dict())
    torch.testing.assert_close(layer(x)[:, :8], 2 * level(x))


def test_recorded_as_ordinary_convolutions(x):
    layer = PyConv2d(32, 32)
    traced = torch.jit.trace(layer, x)
    assert sum("_convolution" in node.kind() for node in traced.inlined_graph.nodes()) == 4
    torch.jit.save(traced, io.BytesIO())
    if hasattr(torch.compiler, "is_exporting"):  # older releases do not tell a layer that it is exported
        nodes = torch.export.export(layer, (x,)).graph.nodes
        assert not any("nnunet_pyconv" in str(node.target) for node in nodes)
    assert [node.op for node in torch.fx.symbolic_trace(layer).graph.nodes].count("call_module") == 4


def test_state_dict_knows_nothing_of_it():
    assert list(PyConv2d(8, 8, Pyramid((3, 5)), bias=True).state_dict()) == [
        "levels.0.weight",
        "levels.0.bias",
        "levels.1.weight",
        "levels.1.bias",
    ]


@pytest.mark.slow
def test_import_compiles_nothing(tmp_path, monkeypatch):
    monkeypatch.setenv("NNUNET_PYCONV_CACHE", str(tmp_path))
    subprocess.run([sys.executable, "-c", "import nnunet_pyconv.nn"], check=True)
    assert not list(tmp_path.iterdir())


def test_variant_follows_torch(monkeypatch):
    for capability, variant in {"AVX512": "avx512", "AVX2": "avx2", "DEFAULT": "baseline", "NEON": "baseline"}.items():
        monkeypatch.setattr(torch.backends.cpu, "get_cpu_capability", lambda capability=capability: capability)
        assert build.variant() == variant
