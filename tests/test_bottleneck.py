"""The bottleneck around a pyramidal convolution, in networks, plans and trainers."""

from __future__ import annotations

import pytest
import torch
from dynamic_network_architectures.architectures.unet import PlainConvUNet, ResidualEncoderUNet
from nnunetv2.utilities.plans_handling.plans_handler import PlansManager
from plans_of_nnunet import DATASET_JSON, make_plans
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from nnunet_pyconv.architectures import PyConvUNet
from nnunet_pyconv.nn import PyConv2d, PyConvBottleneck, Pyramid, convert_to_pyconv
from nnunet_pyconv.nn.backends import use_backend
from nnunet_pyconv.planning import Design, network_on_meta, swap_plans
from nnunet_pyconv.trainers import nnUNetTrainerPyConvBottleneck


def unet(kind=PlainConvUNet, dim=2, input_channels=1):
    blocks = "n_blocks_per_stage" if kind is ResidualEncoderUNet else "n_conv_per_stage"
    return kind(
        input_channels,
        n_stages=3,
        features_per_stage=[16, 32, 64],
        conv_op=nn.Conv2d if dim == 2 else nn.Conv3d,
        kernel_sizes=3,
        strides=[1, 2, 2],
        **{blocks: 2},
        num_classes=3,
        n_conv_per_stage_decoder=1,
        conv_bias=True,
        norm_op=nn.InstanceNorm2d if dim == 2 else nn.InstanceNorm3d,
        norm_op_kwargs={"affine": True},
        nonlin=nn.LeakyReLU,
        nonlin_kwargs={"inplace": True},
    )


def test_it_computes_its_steps():
    middle = PyConv2d(4, 4, stride=2)
    block = PyConvBottleneck(
        8, middle, 16, norm=lambda channels: nn.InstanceNorm2d(channels, affine=True), nonlin=nn.ReLU, bias=True
    )
    x = torch.randn(2, 8, 12, 14)
    y = torch.relu(nn.functional.instance_norm(nn.functional.conv2d(x, block.reduce.weight, block.reduce.bias)))
    y = torch.cat([level(y) for level in middle.levels], dim=1)
    y = torch.relu(nn.functional.instance_norm(y))
    y = nn.functional.conv2d(y, block.expand.weight, block.expand.bias)
    torch.testing.assert_close(block(x), y, rtol=1e-4, atol=1e-4)
    assert y.shape == (2, 16, 6, 7)


@pytest.mark.parametrize("kind", [PlainConvUNet, ResidualEncoderUNet])
@pytest.mark.parametrize("dim", [2, 3])
def test_networks(kind, dim):
    network = convert_to_pyconv(unet(kind, dim), Pyramid((3, 5)), block="bottleneck")
    x = torch.randn(1, 1, *[16] * dim)
    y = network(x)
    assert y.shape == (1, 3, *[16] * dim)
    y.sum().backward()
    without = [name for name, parameter in network.named_parameters() if parameter.grad is None]
    assert all("seg_layers" in name for name in without)  # heads of deep supervision, which is off


def test_all_but_the_first_convolution_become_bottlenecks():
    network = convert_to_pyconv(unet(), block="bottleneck")
    first = network.encoder.stages[0][0].convs[0]
    assert isinstance(first.conv, PyConv2d)
    assert first.all_modules[0] is first.conv
    others = [m.conv for m in network.modules() if hasattr(m, "all_modules") and m is not first]
    assert len(others) == 7  # 5 of the encoder, 2 of the decoder
    assert all(isinstance(other, PyConvBottleneck) for other in others)
    assert others[0].pyconv.in_channels == 4
    assert isinstance(others[0].reduce_norm, nn.InstanceNorm2d)
    assert isinstance(others[0].pyconv_nonlin, nn.LeakyReLU)


def test_many_input_channels_are_reduced_too():
    network = convert_to_pyconv(unet(input_channels=8), block="bottleneck")
    assert [key.rpartition(".")[2] for key in network.keys_to_in_proj] == ["reduce", "reduce"]
    assert all(network.get_submodule(key).in_channels == 8 for key in network.keys_to_in_proj)


def test_multiplications_of_a_block():
    dense = nn.Conv2d(64, 64, 3, padding=1)
    block = PyConvBottleneck(64, PyConv2d(16, 16), 64, norm=None, nonlin=None, bias=False)
    flops = []
    for layer in (dense, block):
        with FlopCounterMode(display=False) as counter, use_backend("reference"):
            layer(torch.empty(1, 64, 16, 16))
        flops.append(counter.get_total_flops())
    # 64 x 16 + 16 x 64 and, with groups 1, 4, 4, 4 of 4 outputs, 4 x (16 x 9 + 4 x 25 + 4 x 49 + 4 x 81)
    assert flops == [2 * 256 * 64 * 64 * 9, 2 * 256 * (2048 + 4 * (144 + 100 + 196 + 324))]


def test_unknown_block():
    with pytest.raises(
        ValueError, match="block='narrow' is unknown; expected one of plain, bottleneck, dilated, separable"
    ):
        convert_to_pyconv(unet(), block="narrow")


def test_plans_and_trainer_build_the_same_network():
    source = make_plans()
    plans, _ = swap_plans(source, DATASET_JSON, "Bottleneck", Design("bottleneck"))
    manager = PlansManager(plans)
    configuration = manager.get_configuration("2d")
    assert configuration.network_arch_init_kwargs["block"] == "bottleneck"
    planned = network_on_meta(manager, configuration, DATASET_JSON)
    assert isinstance(planned, PyConvUNet)
    manager = PlansManager(source)
    trained = nnUNetTrainerPyConvBottleneck.build_network_architecture(
        manager, manager.get_configuration("2d"), 1, manager.get_label_manager(DATASET_JSON).num_segmentation_heads
    )
    assert {k: v.shape for k, v in trained.state_dict().items()} == {
        k: v.shape for k, v in planned.state_dict().items()
    }
