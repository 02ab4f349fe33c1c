"""Every block in the place of a convolution: what it computes, in networks, plans and trainers."""

from __future__ import annotations

import json
from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from conftest import NnunetFolders
from dynamic_network_architectures.architectures.unet import PlainConvUNet, ResidualEncoderUNet
from hypothesis import given, settings
from hypothesis import strategies as st
from nnunetv2.utilities.find_objects import recursive_find_trainer_class_by_name
from nnunetv2.utilities.plans_handling.plans_handler import PlansManager
from plans_of_nnunet import DATASET_JSON, make_plans
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from nnunet_pyconv.architectures import PYCONV_CLASSES
from nnunet_pyconv.benchmarks.complexity import count_gmac
from nnunet_pyconv.nn import (
    BLOCKS,
    DEPTHWISE,
    DILATED,
    Block,
    PyConv2d,
    PyConv3d,
    PyConvBottleneck,
    PyConvSeparable,
    Pyramid,
    convert_to_pyconv,
)
from nnunet_pyconv.nn.backends import use_backend
from nnunet_pyconv.nn.blocks import block_for
from nnunet_pyconv.planning import Design, network_on_meta, swap_plans
from nnunet_pyconv.trainer_dir import TRAINER_DIR

TRAINERS = {"plain": "", "bottleneck": "Bottleneck", "dilated": "Dilated", "separable": "Separable"}
PYRAMIDS = {"plain": Pyramid(), "bottleneck": Pyramid(), "dilated": DILATED, "separable": DEPTHWISE}


class Encoder:
    """What a block takes of an encoder."""

    norm_op, norm_op_kwargs = nn.InstanceNorm2d, {"affine": True}
    nonlin, nonlin_kwargs = nn.LeakyReLU, {"inplace": True}


def unet(kind: type[nn.Module] = PlainConvUNet, dim: int = 2, **arguments: Any) -> Any:
    """A small U-Net as nnU-Net builds it; in 3D the first stage is flat."""
    flat = (1,) * (dim - 2)
    arguments = {
        "input_channels": 1,
        "n_stages": 3,
        "features_per_stage": [8, 16, 24],
        "conv_op": nn.Conv2d if dim == 2 else nn.Conv3d,
        "kernel_sizes": [[*flat, 3, 3], [3] * dim, [3] * dim],
        "strides": [[1] * dim, [*flat, 2, 2], [2] * dim],
        ("n_conv_per_stage" if kind is PlainConvUNet else "n_blocks_per_stage"): 2,
        "num_classes": 2,
        "n_conv_per_stage_decoder": 1,
        "conv_bias": True,
        "norm_op": nn.InstanceNorm2d if dim == 2 else nn.InstanceNorm3d,
        "norm_op_kwargs": {"affine": True},
        "nonlin": nn.LeakyReLU,
        "nonlin_kwargs": {"inplace": True},
        **arguments,
    }
    return kind(**arguments)


def oracle(module: nn.Module, x: torch.Tensor) -> torch.Tensor:
    """A block by torch's functional convolutions alone."""
    if isinstance(module, PyConvSeparable):
        return F.conv2d(oracle(module.depthwise, x), module.pointwise.weight, module.pointwise.bias)
    if isinstance(module, PyConvBottleneck):
        for name, step in module.named_children():
            x = oracle(step, x) if name == "pyconv" else step(x)
        return x
    assert isinstance(module, PyConv2d)
    outputs, first = [], 0
    for level in module.levels:
        share = x[:, first : first + level.in_channels] if module.pyramid.depthwise else x
        first += level.in_channels
        padding = [d * (k // 2) for d, k in zip(level.dilation, level.kernel_size, strict=True)]
        outputs.append(F.conv2d(share, level.weight, level.bias, module.stride, padding, level.dilation, level.groups))
    return torch.cat(outputs, dim=1)


@settings(max_examples=60, deadline=None)
@given(
    block=st.sampled_from(BLOCKS),
    in_channels=st.integers(1, 13),
    out_channels=st.integers(1, 13),
    size=st.tuples(st.integers(3, 11), st.integers(3, 11)),
    stride=st.sampled_from([1, 2, (1, 2)]),
    bias=st.booleans(),
)
def test_contract_in_2d(
    block: Block, in_channels: int, out_channels: int, size: tuple[int, int], stride: Any, bias: bool
) -> None:
    """Any channels, primes and fewer than the levels among them: shape, values and gradients of a block."""
    conv = nn.Conv2d(in_channels, out_channels, 3, stride, padding=1, bias=bias)
    module = block_for(conv, PYRAMIDS[block], block, Encoder)
    x = torch.randn(2, in_channels, *size, requires_grad=True)
    y = module(x)
    assert y.shape == conv(x).shape
    expected = oracle(module, x)
    torch.testing.assert_close(y, expected, rtol=1e-3, atol=1e-4)
    gradient = torch.randn_like(y)
    inputs = [x, *module.parameters()]
    got = torch.autograd.grad(y, inputs, gradient)
    for a, e in zip(got, torch.autograd.grad(expected, inputs, gradient), strict=True):
        torch.testing.assert_close(a, e, rtol=1e-2, atol=2e-3)


@settings(max_examples=25, deadline=None)
@given(
    block=st.sampled_from(BLOCKS),
    in_channels=st.integers(1, 9),
    out_channels=st.integers(1, 9),
    kernel=st.sampled_from([(3, 3, 3), (1, 3, 3), (3, 3, 1)]),
    stride=st.sampled_from([1, 2, (1, 2, 2)]),
)
def test_contract_in_3d(
    block: Block, in_channels: int, out_channels: int, kernel: tuple[int, int, int], stride: Any
) -> None:
    conv = nn.Conv3d(in_channels, out_channels, kernel, stride, padding=tuple(k // 2 for k in kernel))
    encoder = type("Encoder3d", (Encoder,), {"norm_op": nn.InstanceNorm3d})
    module = block_for(conv, PYRAMIDS[block], block, encoder)
    x = torch.randn(1, in_channels, 6, 7, 5, requires_grad=True)
    y = module(x)
    assert y.shape == conv(x).shape
    for layer in module.modules():
        if isinstance(layer, nn.Conv3d):
            along = zip(layer.kernel_size, layer.dilation, layer.padding, kernel, strict=True)
            assert all(
                k > 1 or (layer_kernel, dilation, padding) == (1, 1, 0) for layer_kernel, dilation, padding, k in along
            )
    y.sum().backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in [x, *module.parameters()])


@pytest.mark.parametrize("in_channels", [1, 2, 3, 4])
@pytest.mark.parametrize(
    ("block", "kernels"), [("dilated", [3, 3, 3, 3]), ("separable", [3]), ("bottleneck", [3, 5, 7, 9])]
)
def test_the_first_convolution(block: Block, kernels: list[int], in_channels: int) -> None:
    """It sees the channels of an image: neither reduced nor convolved one by one."""
    module = block_for(nn.Conv2d(in_channels, 32, 3, padding=1), PYRAMIDS[block], block, Encoder)
    assert isinstance(module, PyConv2d)
    assert [level.kernel_size[0] for level in module.levels] == kernels
    assert all(level.in_channels == in_channels for level in module.levels)


def test_parameters_and_multiplications() -> None:
    """Of 64 channels: the dilated pyramid has those of the convolution, the separable block its own."""
    dense = nn.Conv2d(64, 64, 3, padding=1, bias=False)
    cost = {}
    for block in ("dilated", "separable"):
        module = block_for(dense, PYRAMIDS[block], block, Encoder)
        with FlopCounterMode(display=False) as counter, use_backend("reference"), torch.no_grad():
            module(torch.zeros(1, 64, 16, 16))
        cost[block] = (sum(p.numel() for p in module.parameters()), counter.get_total_flops() / (2 * 256))
    assert cost["dilated"] == (64 * 64 * 9,) * 2
    assert cost["separable"] == (16 * (9 + 25 + 49 + 81) + 64 * 64,) * 2


@pytest.mark.parametrize("block", BLOCKS)
def test_complexity_counts_every_block(block: Block) -> None:
    """ptflops counts modules, and so whatever a level's convolution is; torch counts convolutions alone."""
    network = convert_to_pyconv(unet(), patch_size=(32, 32), block=block).eval()
    with FlopCounterMode(display=False) as counter, use_backend("reference"), torch.no_grad():
        network(torch.zeros(1, 1, 32, 32))
    convolutions = counter.get_total_flops() / 2e9
    assert convolutions < count_gmac(network, (1, 32, 32)) < 1.3 * convolutions


@pytest.mark.parametrize("block", BLOCKS)
@pytest.mark.parametrize("kind", [PlainConvUNet, ResidualEncoderUNet])
@pytest.mark.parametrize("dim", [2, 3])
def test_swap(block: Block, kind: type[nn.Module], dim: int) -> None:
    network = convert_to_pyconv(unet(kind, dim), patch_size=[16] * dim, block=block)
    y = network(torch.randn(1, 1, *[16] * dim))
    assert y.shape == (1, 2, *[16] * dim)
    y.sum().backward()
    without = [name for name, parameter in network.named_parameters() if parameter.grad is None]
    assert all("seg_layers" in name for name in without)  # heads of deep supervision, which is off
    assert {network.get_submodule(key).in_channels for key in network.keys_to_in_proj} == {1}
    plain = (nn.Conv2d, nn.Conv3d)
    left = [
        name
        for name, module in network.named_modules()
        if isinstance(module, plain) and max(module.kernel_size) > 1 and ".levels." not in name
    ]
    assert not left


def test_many_input_channels_of_a_separable_network() -> None:
    network = convert_to_pyconv(unet(input_channels=6), block="separable")
    first = network.encoder.stages[0][0].convs[0].conv
    assert isinstance(first, PyConvSeparable)
    keys = {key for key in network.keys_to_in_proj if ".all_modules" not in key}
    assert keys == {f"encoder.stages.0.0.convs.0.conv.depthwise.levels.{z}" for z in range(4)}


def test_levels_of_the_dilated_pyramid_fit_the_maps() -> None:
    network = convert_to_pyconv(unet(), patch_size=(20, 16), block="dilated")
    layers = [stage[0].convs[1].conv for stage in network.encoder.stages]
    assert [[level.dilation[0] for level in layer.levels] for layer in layers] == [[1, 2, 3, 4], [1, 2, 3], [1]]


@pytest.mark.parametrize(
    ("block", "pyramid"), [("separable", Pyramid()), ("dilated", DEPTHWISE), ("plain", DEPTHWISE)], ids=str
)
def test_pyramid_of_another_block(block: Block, pyramid: Pyramid) -> None:
    with pytest.raises(ValueError, match="a depthwise pyramid makes the block 'separable', and no other does"):
        convert_to_pyconv(unet(), pyramid, block=block)


def test_separable_block_around_a_pyramid_that_is_not_depthwise() -> None:
    with pytest.raises(ValueError, match="is not depthwise"):
        PyConvSeparable(PyConv2d(8, 8), 8, bias=False)


@pytest.mark.parametrize("block", BLOCKS)
@pytest.mark.parametrize("network", ["PlainConvUNet", "ResidualEncoderUNet"])
def test_plans_and_trainer_build_the_same_network(block: Block, network: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("nnUNet_extTrainer", str(TRAINER_DIR))
    source = make_plans(network)
    plans, _ = swap_plans(source, DATASET_JSON, "Ours", Design(block))
    manager = PlansManager(json.loads(json.dumps(plans)))
    planned = network_on_meta(manager, manager.get_configuration("2d"), DATASET_JSON)
    assert type(planned) is PYCONV_CLASSES[network]
    trainer = recursive_find_trainer_class_by_name(f"nnUNetTrainerPyConv{TRAINERS[block]}")
    manager = PlansManager(deepcopy(source))
    heads = manager.get_label_manager(DATASET_JSON).num_segmentation_heads
    trained = trainer.build_network_architecture(manager, manager.get_configuration("2d"), 1, heads)
    assert trainer.block == block
    assert {k: v.shape for k, v in trained.state_dict().items()} == {
        k: v.shape for k, v in planned.state_dict().items()
    }
    assert str(trained.encoder) == str(planned.encoder)  # dilations, too


@pytest.mark.parametrize("block", ["dilated", "separable"])
def test_trainers_and_their_variants_are_found(
    block: str, monkeypatch: pytest.MonkeyPatch, nnunet_folders: NnunetFolders
) -> None:
    monkeypatch.setenv("nnUNet_extTrainer", str(TRAINER_DIR))
    prefix = f"nnUNetTrainerPyConv{TRAINERS[block]}"
    assert recursive_find_trainer_class_by_name(prefix).block == block
    plans = {**make_plans(), "continue_training": False}
    trainer = recursive_find_trainer_class_by_name(f"{prefix}_50epochs")(
        plans, "2d", 0, DATASET_JSON, torch.device("cpu")
    )
    assert (trainer.num_epochs, trainer.block) == (50, block)
    assert issubclass(
        recursive_find_trainer_class_by_name(f"{prefix}NoMirroring"), recursive_find_trainer_class_by_name(prefix)
    )


@pytest.mark.slow
@pytest.mark.parametrize("block", BLOCKS)
def test_exported_to_onnx(block: Block, tmp_path: Path) -> None:
    """Ordinary convolutions, with the numbers that torch has."""
    import onnxruntime

    network = convert_to_pyconv(unet(), patch_size=(32, 32), block=block).eval()
    x = torch.randn(2, 1, 32, 32)
    file = tmp_path / "network.onnx"
    torch.onnx.export(network, (x,), str(file), dynamo=True)
    session = onnxruntime.InferenceSession(str(file), providers=["CPUExecutionProvider"])
    (got,) = session.run(None, {session.get_inputs()[0].name: x.numpy()})
    torch.testing.assert_close(torch.from_numpy(got), network(x), rtol=1e-3, atol=1e-3)


def test_3d_layer_repr() -> None:
    assert repr(PyConv3d(8, 8, DILATED.along((1, 3, 3)).fitted((4, 6, 6)))) == (
        "PyConv3d(8, 8, levels: 1x3x3 /1 -> 4, 1x3x3 dilated by 2 /1 -> 4)"
    )
