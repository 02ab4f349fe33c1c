from __future__ import annotations

from typing import Any

import pytest
import torch
from dynamic_network_architectures.architectures.unet import PlainConvUNet, ResidualEncoderUNet
from dynamic_network_architectures.building_blocks.residual import BottleneckD
from torch import nn

from nnunet_pyconv.nn import PyConv2d, PyConv3d, Pyramid, convert_to_pyconv, pyramid_per_stage

FEATURES = (8, 16, 24)


def unet(network: type[nn.Module], dim: int = 2, **arguments: Any) -> Any:
    """A small U-Net as nnU-Net builds it; in 3D the first stage is anisotropic."""
    in_plane = (1,) * (dim - 2)
    arguments = {
        "input_channels": 1,
        "n_stages": 3,
        "features_per_stage": FEATURES,
        "conv_op": nn.Conv2d if dim == 2 else nn.Conv3d,
        "kernel_sizes": [[*in_plane, 3, 3], [3] * dim, [3] * dim],
        "strides": [[1] * dim, [*in_plane, 2, 2], [2] * dim],
        ("n_conv_per_stage" if network is PlainConvUNet else "n_blocks_per_stage"): 2,
        "num_classes": 2,
        "n_conv_per_stage_decoder": 2,
        "conv_bias": True,
        "norm_op": nn.InstanceNorm2d if dim == 2 else nn.InstanceNorm3d,
        "norm_op_kwargs": {"affine": True},
        "nonlin": nn.LeakyReLU,
        "nonlin_kwargs": {"inplace": True},
        **arguments,
    }
    return network(**arguments)


NETWORKS = pytest.mark.parametrize(
    ("network", "dim"),
    [(PlainConvUNet, 2), (PlainConvUNet, 3), (ResidualEncoderUNet, 2), (ResidualEncoderUNet, 3)],
    ids=lambda value: getattr(value, "__name__", f"{value}d"),
)


def convolutions(network: nn.Module) -> dict[str, nn.Module]:
    """The convolutions by their first name, levels of a PyConv not among them."""
    kinds = (nn.Conv2d, nn.Conv3d, nn.ConvTranspose2d, nn.ConvTranspose3d, PyConv2d, PyConv3d)
    return {
        name: module for name, module in network.named_modules() if isinstance(module, kinds) and ".levels." not in name
    }


@NETWORKS
def test_which_modules_change(network: type[nn.Module], dim: int) -> None:
    before = convolutions(unet(network, dim))
    after = convolutions(convert_to_pyconv(unet(network, dim)))
    assert before.keys() == after.keys()
    pyconv = PyConv2d if dim == 2 else PyConv3d
    for name, old in before.items():
        new = after[name]
        is_k_by_k = isinstance(old, (nn.Conv2d, nn.Conv3d)) and max(old.kernel_size) > 1
        assert isinstance(new, pyconv if is_k_by_k else type(old)), name
        if is_k_by_k:
            assert (new.in_channels, new.out_channels, new.stride) == (old.in_channels, old.out_channels, old.stride)
            assert all((level.bias is None) == (old.bias is None) for level in new.levels)
    swapped = [name for name, module in after.items() if isinstance(module, pyconv)]
    assert all(name.startswith(("encoder.", "decoder.stages.")) for name in swapped)
    assert [name for name in after if "transpconvs" in name or "seg_layers" in name]


@pytest.mark.parametrize("block", [None, BottleneckD], ids=["basic", "bottleneck"])
def test_residual_blocks_keep_their_1x1_convolutions(block: Any) -> None:
    extra = {} if block is None else {"block": block, "bottleneck_channels": (4, 8, 8)}
    network = convert_to_pyconv(unet(ResidualEncoderUNet, **extra))
    assert isinstance(network.encoder.stem.convs[0].conv, PyConv2d)
    for stage in network.encoder.stages:
        for residual_block in stage.blocks:
            swapped = [isinstance(getattr(residual_block, f"conv{i}").conv, PyConv2d) for i in (1, 2)]
            assert swapped == ([True, True] if block is None else [False, True])
    projections = [m for n, m in network.named_modules() if ".skip." in n and n.endswith(".conv")]
    assert projections
    assert all(isinstance(module, nn.Conv2d) for module in projections)


def test_layer_registered_twice_stays_one_layer() -> None:
    network = convert_to_pyconv(unet(PlainConvUNet))
    block = network.encoder.stages[0][0].convs[0]
    assert block.conv is block.all_modules[0]


def test_pyramid_grows_in_plane_where_the_kernel_is_flat() -> None:
    network = convert_to_pyconv(unet(PlainConvUNet, dim=3))
    stem, deeper = (network.encoder.stages[i][0].convs[0].conv for i in (0, 1))
    assert [level.kernel_size for level in stem.levels] == [(1, 3, 3), (1, 5, 5), (1, 7, 7), (1, 9, 9)]
    assert [level.kernel_size[0] for level in deeper.levels] == [3, 5, 7, 9]


@NETWORKS
@pytest.mark.parametrize("deep_supervision", [True, False], ids=["deep-supervision", "one-output"])
def test_forward_and_backward(network: type[nn.Module], dim: int, deep_supervision: bool) -> None:
    net = convert_to_pyconv(unet(network, dim, deep_supervision=deep_supervision))
    outputs = net(torch.randn(2, 1, *[16] * dim))
    if deep_supervision:
        assert [tuple(o.shape) for o in outputs] == [(2, 2, *[16] * dim), (2, 2, *([16] * (dim - 2) + [8, 8]))]
    else:
        assert outputs.shape == (2, 2, *[16] * dim)
        outputs = [outputs]
    sum(o.square().mean() for o in outputs).backward()
    used = [p for n, p in net.named_parameters() if deep_supervision or "seg_layers.0" not in n]
    assert all(p.grad is not None and p.grad.isfinite().all() for p in used)


@NETWORKS
def test_feature_map_size_is_that_of_the_plain_network(network: type[nn.Module], dim: int) -> None:
    size = [16] * dim
    plain = unet(network, dim).compute_conv_feature_map_size(size)
    assert convert_to_pyconv(unet(network, dim)).compute_conv_feature_map_size(size) == plain


@pytest.mark.parametrize("network", [PlainConvUNet, ResidualEncoderUNet])
def test_new_layers_are_initialised_by_the_network(network: type[nn.Module]) -> None:
    torch.manual_seed(0)
    net = convert_to_pyconv(unet(network, features_per_stage=(64, 64, 64)))
    layer = (
        net.encoder.stages[1][0].convs[1].conv
        if network is PlainConvUNet
        else net.encoder.stages[1].blocks[1].conv1.conv
    )
    for level in layer.levels:
        fan_in = level.weight[0].numel()
        he = (2 / (1 + 1e-2**2) / fan_in) ** 0.5
        assert level.weight.std().item() == pytest.approx(he, rel=0.1)
        assert level.bias.count_nonzero() == 0


def test_levels_by_patch_size() -> None:
    network = convert_to_pyconv(unet(PlainConvUNet), patch_size=(20, 16))
    kernels = [[level.kernel_size[0] for level in stage[0].convs[1].conv.levels] for stage in network.encoder.stages]
    assert kernels == [[3, 5, 7, 9], [3, 5, 7], [3]]
    decoder = [[level.kernel_size[0] for level in stage.convs[0].conv.levels] for stage in network.decoder.stages]
    assert decoder == [[3, 5, 7], [3, 5, 7, 9]]


def test_pyramid_per_stage_of_nnunets_default_512() -> None:
    strides, kernels = [[1, 1]] + [[2, 2]] * 7, [[3, 3]] * 8
    features = [32, 64, 128, 256, 512, 512, 512, 512]
    levels = [len(pyramid.kernel_sizes) for pyramid in pyramid_per_stage((512, 512), strides, kernels, features)]
    assert levels == [4, 4, 4, 4, 4, 4, 3, 1]


@pytest.mark.parametrize(
    ("patch_size", "strides", "kernels", "levels"),
    [
        pytest.param((128,) * 3, [[1] * 3] + [[2] * 3] * 5, [[3] * 3] * 6, [3, 4, 4, 4, 3, 1], id="128"),
        pytest.param(
            (16, 256, 256),
            [[1, 1, 1], [1, 2, 2], [1, 2, 2], [2, 2, 2], [2, 2, 2]],
            [[1, 3, 3], [1, 3, 3], [3, 3, 3], [3, 3, 3], [3, 3, 3]],
            [4, 4, 4, 3, 1],
            id="anisotropic-maps-of-16-16-16-8-and-4-slices",
        ),
    ],
)
def test_pyramid_per_stage_in_3d(patch_size: Any, strides: Any, kernels: Any, levels: list[int]) -> None:
    features = [32, 64, 128, 256, 320, 320][: len(strides)]
    pyramids = pyramid_per_stage(patch_size, strides, kernels, features)
    assert [len(pyramid.kernel_sizes) for pyramid in pyramids] == levels


def test_one_pyramid_for_each_stage() -> None:
    network = convert_to_pyconv(unet(PlainConvUNet), [Pyramid((3, 5)), Pyramid((3,)), Pyramid((5, 7))])
    kernels = [[level.kernel_size[0] for level in stage[0].convs[0].conv.levels] for stage in network.encoder.stages]
    assert kernels == [[3, 5], [3], [5, 7]]


def test_state_dict_round_trip() -> None:
    first, second = (convert_to_pyconv(unet(PlainConvUNet)).eval() for _ in range(2))
    second.load_state_dict(first.state_dict())
    x = torch.randn(1, 1, 16, 16)
    torch.testing.assert_close(second(x), first(x))


def test_input_keys_name_the_levels_of_the_stem() -> None:
    network = convert_to_pyconv(unet(PlainConvUNet))
    assert {network.get_submodule(key).in_channels for key in network.keys_to_in_proj} == {1}
    assert len(network.keys_to_in_proj) == 8  # four levels under both names of the layer


@pytest.mark.long
def test_compiled_network_agrees() -> None:
    network = convert_to_pyconv(unet(PlainConvUNet)).eval()
    x = torch.randn(1, 1, 16, 16)
    compiled = torch.compile(network, fullgraph=True)
    torch.testing.assert_close(compiled(x), network(x), rtol=1e-3, atol=1e-4)
    compiled(x).sum().backward()
    gradients = [p.grad for n, p in network.named_parameters() if "seg_layers.0" not in n]
    assert all(g is not None and g.isfinite().all() for g in gradients)


@pytest.mark.parametrize("network", [PlainConvUNet, ResidualEncoderUNet])
def test_autocast_is_finite(network: type[nn.Module]) -> None:
    net = convert_to_pyconv(unet(network))
    with torch.autocast("cpu", dtype=torch.bfloat16):
        y = net(torch.randn(2, 1, 16, 16))
    assert y.dtype == torch.bfloat16
    assert y.isfinite().all()
    y.float().square().mean().backward()
    assert all(p.grad.isfinite().all() for p in net.parameters() if p.grad is not None)


def test_network_that_is_not_swappable() -> None:
    with pytest.raises(TypeError, match="Sequential has no encoder and decoder with stages"):
        convert_to_pyconv(nn.Sequential(nn.Conv2d(1, 1, 3)))


def test_second_swap_is_refused() -> None:
    with pytest.raises(TypeError, match="PlainConvUNet has pyramidal convolutions already"):
        convert_to_pyconv(convert_to_pyconv(unet(PlainConvUNet)))


def test_frozen_network_in_evaluation_stays_so() -> None:
    network = convert_to_pyconv(unet(PlainConvUNet).eval().requires_grad_(False))
    assert not any(module.training for module in network.modules())
    assert not any(parameter.requires_grad for parameter in network.parameters())


def test_kernels_instead_of_pyramids() -> None:
    with pytest.raises(TypeError, match=r"\(3, 5\) are not pyramids; .* give Pyramid\(\(3, 5\)\)"):
        convert_to_pyconv(unet(PlainConvUNet), (3, 5))  # type: ignore[arg-type]


def test_number_of_pyramids() -> None:
    with pytest.raises(ValueError, match="2 pyramids for 3 stages"):
        convert_to_pyconv(unet(PlainConvUNet), [Pyramid()] * 2)
