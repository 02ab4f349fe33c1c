"""The contract that all networks keep."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from dynamic_network_architectures.architectures.unet import PlainConvUNet
from nnunetv2.utilities.get_network_from_plans import get_network_from_plans
from torch import nn

from nnunet_pyconv.architectures import (
    AttentionUNet,
    FCN8s,
    MultiResUNet,
    PaperPyConvUNet,
    PyConvUNet,
    ResNet34UNet,
    SegmentationNetwork,
    UNet,
    UNetPlusPlus,
)
from nnunet_pyconv.architectures.multires_unet import MultiResBlock, ResPathBlock
from nnunet_pyconv.nn import PyConv2d

NETWORKS: list[type[nn.Module]] = [
    PyConvUNet,
    PaperPyConvUNet,
    UNet,
    UNetPlusPlus,
    ResNet34UNet,
    AttentionUNet,
    FCN8s,
    MultiResUNet,
]
OF_THE_PAPER = [network for network in NETWORKS if issubclass(network, SegmentationNetwork)]

every_network = pytest.mark.parametrize("network", NETWORKS, ids=lambda network: network.__name__)
two_networks_or_all = pytest.mark.parametrize(
    "network",
    [
        pytest.param(network, marks=() if network in (PyConvUNet, PaperPyConvUNet) else pytest.mark.long)
        for network in NETWORKS
    ],
    ids=lambda network: network.__name__,
)
every_network_of_the_paper = pytest.mark.parametrize("network", OF_THE_PAPER, ids=lambda network: network.__name__)


def build(network: Callable[..., nn.Module], **arguments: Any) -> nn.Module:
    torch.manual_seed(0)
    return network(**{"input_channels": 3, "num_classes": 2, **arguments})


def image(*size: int, channels: int = 3, n: int = 1) -> torch.Tensor:
    return torch.randn(n, channels, *size, generator=torch.Generator().manual_seed(1))


@every_network
@pytest.mark.parametrize("size", [(1, 1), (17, 23), (32, 32), (50, 64)], ids=str)
def test_any_size(network: type[nn.Module], size: tuple[int, int]) -> None:
    with torch.no_grad():
        assert build(network).eval()(image(*size)).shape == (1, 2, *size)


@every_network
def test_padding_is_behind_the_last_row_and_column(network: type[nn.Module]) -> None:
    net, x = build(network).eval(), image(40, 50)
    padded = torch.zeros(1, 3, 64, 64)
    padded[..., :40, :50] = x
    if network not in (ResNet34UNet, FCN8s):  # these need multiples of 32, the others of 16
        padded = padded[..., :48, :]
    with torch.no_grad():
        torch.testing.assert_close(net(x), net(padded)[..., :40, :50])


@every_network
def test_logits_are_not_squashed(network: type[nn.Module]) -> None:
    """They follow the head's bias, beyond what a sigmoid or a softmax could give."""
    net = build(network).eval()
    with torch.no_grad():
        before = net(image(32, 32))
        net.decoder.seg_layers[-1].bias += 100
        torch.testing.assert_close(net(image(32, 32)), before + 100)


@every_network_of_the_paper
def test_deep_supervision_of_the_papers_networks(network: type[SegmentationNetwork]) -> None:
    """The list has the length and the scales that nnU-Net derives from the strides in the plans."""
    net = build(network, deep_supervision=True, strides=[[1, 1]] * (network.n_outputs + 1)).eval()
    with torch.no_grad():
        outputs = net(image(17, 23))
        assert [output.shape for output in outputs] == [(1, 2, 17, 23)] * (4 if network is UNetPlusPlus else 2)
        net.decoder.deep_supervision = False  # what nnU-Net's trainers do
        torch.testing.assert_close(net(image(17, 23)), outputs[0])
    if network is not UNetPlusPlus:
        assert outputs[1] is outputs[0]


def test_deep_supervision_of_pyconv_unet() -> None:
    """Outputs of an odd size have the sizes of nnU-Net's targets, which are rounded: 23 / 2 to 12, 17 / 2 to 8."""
    net = build(PyConvUNet, deep_supervision=True).eval()
    with torch.no_grad():
        outputs = net(image(17, 23))
    assert [tuple(output.shape[2:]) for output in outputs] == [(17, 23), (8, 12), (4, 6), (2, 3)]


@every_network
def test_state_dict_does_not_depend_on_deep_supervision(network: type[nn.Module]) -> None:
    """What was trained with deep supervision is loaded without it for prediction."""
    trained, loaded = build(network, deep_supervision=True).eval(), network(input_channels=3, num_classes=2).eval()
    loaded.load_state_dict(trained.state_dict())
    with torch.no_grad():
        torch.testing.assert_close(loaded(image(32, 32)), trained(image(32, 32))[0])


@pytest.mark.slow
@every_network
def test_gradients_reach_all_parameters(network: type[nn.Module]) -> None:
    net = build(network, deep_supervision=True).train()
    loss = sum((output**2).mean() for output in net(image(64, 64, n=2)))
    assert isinstance(loss, torch.Tensor)
    loss.backward()
    without = [n for n, p in net.named_parameters() if p.grad is None or not torch.isfinite(p.grad).all()]
    assert without == []
    unreached = [n for n, p in net.named_parameters() if p.dim() > 1 and p.grad is not None and not p.grad.any()]
    assert unreached == []


@pytest.mark.slow
@two_networks_or_all
def test_compiles_without_graph_breaks(network: type[nn.Module]) -> None:
    net = build(network).eval()
    with torch.no_grad():
        compiled = torch.compile(net, backend="aot_eager", fullgraph=True)(image(33, 40))
        torch.testing.assert_close(compiled, net(image(33, 40)), rtol=1e-3, atol=1e-4)


@pytest.mark.slow
@every_network
def test_mixed_precision(network: type[nn.Module]) -> None:
    net = build(network).train()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        output = net(image(64, 64, n=2))
    assert output.dtype is torch.bfloat16
    output.float().mean().backward()
    assert all(p.grad is not None and p.grad.dtype is torch.float32 for p in used_parameters(net))


def used_parameters(net: nn.Module) -> list[nn.Parameter]:
    """Without deep supervision, all but the other heads."""
    others = {f"decoder.seg_layers.{i}." for i in range(len(net.decoder.seg_layers) - 1)}
    return [p for name, p in net.named_parameters() if not name.startswith(tuple(others))]


@pytest.mark.slow
@two_networks_or_all
def test_exports_to_onnx(network: type[nn.Module], tmp_path: Path) -> None:
    import onnxruntime as runtime

    net, x = build(network, input_channels=1).eval(), image(40, 64, channels=1)
    file = tmp_path / "network.onnx"
    torch.onnx.export(net, (x,), str(file), dynamo=True, external_data=False, verbose=False)
    (answer,) = runtime.InferenceSession(str(file)).run(None, {"x": x.numpy()})
    with torch.no_grad():
        np.testing.assert_allclose(answer, net(x).numpy(), rtol=1e-3, atol=1e-4)


@every_network
@pytest.mark.parametrize("deep_supervision", [True, False])
def test_built_from_plans(network: type[nn.Module], deep_supervision: bool) -> None:
    kwargs = {"strides": [[1, 1]] * (network.n_outputs + 1)} if issubclass(network, SegmentationNetwork) else {}
    net = get_network_from_plans(
        f"nnunet_pyconv.architectures.{network.__name__}",
        kwargs,
        [],
        input_channels=1,
        output_channels=3,
        deep_supervision=deep_supervision,
    )
    assert type(net) is network
    output = net.eval()(image(32, 32, channels=1))
    assert isinstance(output, list) is deep_supervision
    assert (output[0] if deep_supervision else output).shape == (1, 3, 32, 32)


@every_network
def test_heads_carry_the_name_that_nnunet_knows(network: type[nn.Module]) -> None:
    """load_pretrained_weights transfers all but `.seg_layers.`: classes change nothing else."""
    two, five = (build(network, num_classes=n).state_dict() for n in (2, 5))
    differ = [name for name in two if two[name].shape != five[name].shape]
    assert differ
    assert all(".seg_layers." in name for name in differ)


@pytest.mark.parametrize(
    ("network", "parameters"),
    [
        (UNet, 7_765_985),
        (UNetPlusPlus, 9_163_428),
        (ResNet34UNet, 21_656_897),
        (AttentionUNet, 34_878_573),
        (FCN8s, 18_643_713),
    ],
    ids=lambda value: getattr(value, "__name__", None),
)
def test_parameters_are_those_of_table_3(network: type[nn.Module], parameters: int) -> None:
    net = network(input_channels=3, num_classes=1)
    assert sum(p.numel() for p in net.parameters()) == parameters


def test_paper_pyconv_unet_is_pyramidal_and_within_the_papers_figures() -> None:
    net = PaperPyConvUNet(input_channels=3, num_classes=1)
    pyramids = [module for module in net.modules() if isinstance(module, PyConv2d)]
    assert [p.out_channels for p in pyramids] == [16, 32, 64, 128, 256, 128, 64, 32, 16]
    assert all([level.kernel_size for level in p.levels] == [(k, k) for k in (3, 5, 7, 9)] for p in pyramids)
    levels = [level for pyramid in pyramids for level in pyramid.levels]
    others = [m for m in net.modules() if isinstance(m, nn.Conv2d) and m not in levels]
    assert {m.kernel_size for m in others} == {(1, 1)}
    assert sum(p.numel() for p in net.parameters()) <= 3_700_000


def test_multires_unet_has_the_parameters_that_its_authors_state() -> None:
    """Keras counts running means and variances too; two of them belong to the output, which we do not normalise."""
    net = MultiResUNet(input_channels=3, num_classes=1)
    parameters = sum(p.numel() for p in net.parameters())
    running = sum(b.numel() for name, b in net.named_buffers() if "running" in name)
    assert parameters == 7_238_228
    assert parameters + running + 2 == 7_262_750


def test_filters_of_multires_unet() -> None:
    """1.67 times the U-Net's filters, of these 0.167, 0.333 and 0.5, rounded down; on the way up the same."""
    net = MultiResUNet(input_channels=3, num_classes=1)
    filters = [[conv[0][0].out_channels for conv in stage.convs] for stage in net.encoder.stages]
    assert filters == [[8, 17, 26], [17, 35, 53], [35, 71, 106], [71, 142, 213], [142, 284, 427]]
    assert [[conv[0][0].out_channels for conv in stage.convs] for stage in net.decoder.stages] == filters[-2::-1]
    assert [len(path) for path in net.decoder.paths] == [1, 2, 3, 4]
    assert [path[-1].conv[0][0].out_channels for path in net.decoder.paths] == [256, 128, 64, 32]


def normalised(x: torch.Tensor) -> torch.Tensor:
    return F.batch_norm(x, None, None, training=True)


def test_multires_block_in_plain_torch() -> None:
    """Before training, when scales are 1 and shifts 0: the authors add first, then ReLU, then normalise."""
    torch.manual_seed(0)
    block, x = MultiResBlock(2, 12).train(), image(9, 8, channels=2, n=3)
    maps = []
    y = x
    for conv, filters in zip(block.convs, (3, 6, 10), strict=True):
        weight = conv[0][0].weight
        assert weight.shape[0] == filters
        y = normalised(F.conv2d(y, weight, padding=1)).relu()
        maps.append(y)
    shortcut = normalised(F.conv2d(x, block.shortcut[0].weight))
    expected = normalised((normalised(torch.cat(maps, dim=1)) + shortcut).relu())
    torch.testing.assert_close(block(x), expected)


def test_res_path_in_plain_torch() -> None:
    torch.manual_seed(0)
    block, x = ResPathBlock(5, 4).train(), image(9, 8, channels=5, n=3)
    conv = normalised(F.conv2d(x, block.conv[0][0].weight, padding=1)).relu()
    shortcut = normalised(F.conv2d(x, block.shortcut[0].weight))
    torch.testing.assert_close(block(x), normalised((conv + shortcut).relu()))


def test_strides_that_do_not_suit() -> None:
    with pytest.raises(ValueError, match=r"strides=\[\[1, 1\], \[2, 2\]\] do not suit UNet"):
        UNet(1, 2, strides=[[1, 1], [2, 2]])


def test_pyconv_unet_takes_the_arguments_of_plain_conv_unet() -> None:
    """In their order; what is new is a keyword."""
    ours, theirs = (list(inspect.signature(c.__init__).parameters.values()) for c in (PyConvUNet, PlainConvUNet))
    assert [p.name for p in ours if p.kind is not p.KEYWORD_ONLY] == [p.name for p in theirs]
    assert [p.name for p in ours if p.kind is p.KEYWORD_ONLY] == ["pyramid", "block", "part"]


def test_pyconv_unet_has_nnunets_defaults() -> None:
    net = PyConvUNet(input_channels=3, num_classes=1)
    assert net.encoder.output_channels == [32, 64, 128, 256, 512]
    norms = [m for m in net.modules() if isinstance(m, nn.InstanceNorm2d)]
    assert norms
    assert all(norm.affine for norm in norms)
    assert any(isinstance(m, nn.LeakyReLU) for m in net.modules())


def test_pyconv_unet_in_3d() -> None:
    net = PyConvUNet(1, 2, (4, 8), nn.Conv3d, 3, [(1, 1, 1), (1, 2, 2)], norm_op=nn.InstanceNorm3d, num_classes=2)
    assert net.eval()(torch.zeros(1, 1, 3, 9, 10)).shape == (1, 2, 3, 9, 10)
