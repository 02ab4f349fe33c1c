"""Narrower and shallower networks from any plans."""

from __future__ import annotations

import json
from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest
import torch
from nnunetv2.utilities.get_network_from_plans import get_network_from_plans
from plans_of_nnunet import DATASET_JSON, make_plans

from nnunet_pyconv.cli import main
from nnunet_pyconv.errors import InputError
from nnunet_pyconv.names import BLOCKS
from nnunet_pyconv.planning import Design, plan_pyconv, swap_plans
from nnunet_pyconv.planning.design import stages_of


def architecture(design: Design, network: str = "PlainConvUNet") -> dict[str, Any]:
    plans, _ = swap_plans(make_plans(network), DATASET_JSON, "Ours", design)
    result: dict[str, Any] = json.loads(json.dumps(plans))["configurations"]["2d"]["architecture"]
    return result


def build(architecture: dict[str, Any]) -> Any:
    return get_network_from_plans(
        architecture["network_class_name"],
        architecture["arch_kwargs"],
        architecture["_kw_requires_import"],
        input_channels=1,
        output_channels=2,
        deep_supervision=True,
    )


@pytest.mark.parametrize(
    ("width", "features"),
    [(1, [8, 16, 32]), (0.5, [4, 8, 16]), (0.3, [4, 4, 8]), (2, [16, 32, 64]), (0.7, [4, 12, 24])],
)
def test_width_in_multiples_of_4(width: float, features: list[int]) -> None:
    assert architecture(Design("stock", width))["arch_kwargs"]["features_per_stage"] == features


@pytest.mark.parametrize(("limit", "features"), [(16, [8, 16, 16]), (10, [8, 10, 10]), (100, [8, 16, 32])])
@pytest.mark.parametrize("network", ["PlainConvUNet", "ResidualEncoderUNet"])
def test_no_stage_has_more_than_the_most_features(network: str, limit: int, features: list[int]) -> None:
    designed = architecture(Design("dilated", max_features=limit), network)
    assert designed["arch_kwargs"]["features_per_stage"] == features
    assert build(designed)(torch.zeros(1, 1, 32, 32))[0].shape == (1, 2, 32, 32)


@pytest.mark.parametrize("block", ["stock", "plain", "dilated"])
@pytest.mark.parametrize("network", ["PlainConvUNet", "ResidualEncoderUNet"])
def test_fewer_stages(network: str, block: Any) -> None:
    source = make_plans(network)
    arch_kwargs = source["configurations"]["2d"]["architecture"]["arch_kwargs"]
    blocks = "n_conv_per_stage" if network == "PlainConvUNet" else "n_blocks_per_stage"
    arch_kwargs |= {"n_stages": 4, "features_per_stage": [8, 16, 32, 64], "kernel_sizes": [[3, 3]] * 4}
    arch_kwargs |= {"strides": [[1, 1], *[[2, 2]] * 3], blocks: [2] * 4, "n_conv_per_stage_decoder": [2] * 3}
    plans, _ = swap_plans(source, DATASET_JSON, "Ours", Design(block, stages=3))
    designed = json.loads(json.dumps(plans))["configurations"]["2d"]["architecture"]
    net = build(designed)
    assert len(net.encoder.stages) == 3
    assert [tuple(y.shape) for y in net(torch.zeros(1, 1, 32, 32))] == [(1, 2, 32, 32), (1, 2, 16, 16)]
    assert len(designed["arch_kwargs"].get("pyramid", [0, 0, 0])) == 3


def test_stock_network_stays_nnunets_own() -> None:
    assert architecture(Design("stock")) == make_plans()["configurations"]["2d"]["architecture"]
    assert type(build(architecture(Design("stock", 0.5)))).__name__ == "PlainConvUNet"


def test_parameters_of_a_network_half_as_wide() -> None:
    source = make_plans()
    source["configurations"]["2d"]["architecture"]["arch_kwargs"]["features_per_stage"] = [32, 64, 128]
    _, planned = swap_plans(source, DATASET_JSON, "Ours", Design("stock", 0.5))
    ratio = planned[0].parameters_after / planned[0].parameters_before
    assert ratio == pytest.approx(0.25, abs=0.005)


@pytest.mark.parametrize(
    ("design", "name"),
    [
        (Design(), "nnUNetPyConvPlans"),
        (Design("bottleneck"), "nnUNetPyConvBottleneckPlans"),
        (Design("dilated", 0.5), "nnUNetPyConvDilatedWidth0.5Plans"),
        (Design("stock", 0.25, 64, 5), "nnUNetStockWidth0.25MaxFeatures64Stages5Plans"),
        (Design("plain", pyramid_stages=2, levels=3, part="decoder"), "nnUNetPyConvPyramidStages2Levels3DecoderPlans"),
    ],
)
def test_plans_are_named_after_the_design(design: Design, name: str, preprocessed: Path) -> None:
    assert design.plans_name == name
    if design.stages is None:
        file, _ = plan_pyconv(312, design=design)
        assert (file.stem, json.loads(file.read_text())["plans_name"]) == (name, name)


def test_plans_of_a_stock_network_are_known_for_ours(preprocessed: Path) -> None:
    design = Design("stock", 0.5)
    file, _ = plan_pyconv(312, design=design)
    assert json.loads(file.read_text())["nnunet_pyconv"] == {
        "block": "stock",
        "width": 0.5,
        "max_features": None,
        "stages": None,
        "pyramid_stages": None,
        "levels": None,
        "part": "network",
    }
    plan_pyconv(312, design=design, overwrite=True)
    with pytest.raises(InputError, match="exists already"):
        plan_pyconv(312, design=design)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"block": "narrow"}, "-block narrow is unknown; expected one of plain, bottleneck, dilated, separable, stock"),
        ({"width": 0}, "-width 0: expected a positive number"),
        ({"width": float("nan")}, "-width nan"),
        ({"max_features": 3}, "-max_features 3: expected at least 4"),
        ({"stages": 2}, "-stages 2: expected at least 3, for nnU-Net's loss leaves out the lowest output"),
        ({"pyramid_stages": 0}, "-pyramid_stages 0: expected at least 1"),
        ({"levels": 0}, "-levels 0: expected at least 1"),
        ({"part": "head"}, "-part head is unknown; expected one of network, encoder, decoder"),
        ({"block": "stock", "levels": 2}, "-block stock leaves all convolutions as they are"),
    ],
    ids=str,
)
def test_bad_design(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        Design(**arguments)


def test_more_stages_than_there_are(preprocessed: Path) -> None:
    with pytest.raises(InputError, match="-stages 4: the network of the plans has 3 stages, and none can be added"):
        plan_pyconv(312, design=Design(stages=4))
    assert not list(preprocessed.glob("nnUNetPyConv*"))


def test_more_stages_with_pyramids_than_there_are(preprocessed: Path) -> None:
    with pytest.raises(InputError, match="-pyramid_stages 4: the network has 3 stages; give no more"):
        plan_pyconv(312, design=Design(stages=3, pyramid_stages=4))
    assert not list(preprocessed.glob("nnUNetPyConv*"))


def kernels_and_dilations(convolutions: Any) -> set[tuple[int, int]]:
    """Of all convolutions that look further than a pixel; a level counts as one."""
    found = (module for module in convolutions.modules() if isinstance(module, torch.nn.Conv2d))
    return {(conv.kernel_size[0], conv.dilation[0]) for conv in found if conv.kernel_size[0] > 1}


@pytest.mark.parametrize("network", ["PlainConvUNet", "ResidualEncoderUNet"])
def test_pyramids_in_upper_stages_alone(network: str) -> None:
    net = build(architecture(Design("dilated", pyramid_stages=1), network))
    pyramid = {(3, 1), (3, 2), (3, 3), (3, 4)}
    assert kernels_and_dilations(net.encoder.stages[0]) == kernels_and_dilations(net.decoder.stages[-1]) == pyramid
    assert kernels_and_dilations(net.encoder.stages[1:]) == kernels_and_dilations(net.decoder.stages[:-1]) == {(3, 1)}
    assert [tuple(y.shape) for y in net(torch.zeros(1, 1, 32, 32))] == [(1, 2, 32, 32), (1, 2, 16, 16)]


@pytest.mark.parametrize("block", BLOCKS)
@pytest.mark.parametrize(("part", "other"), [("encoder", "decoder"), ("decoder", "encoder")])
def test_pyramids_in_a_part_alone(block: Any, part: Any, other: str) -> None:
    net = build(architecture(Design(block, part=part)))
    assert len(kernels_and_dilations(getattr(net, part).stages)) > 1
    assert kernels_and_dilations(getattr(net, other).stages) == {(3, 1)}
    stock = build(architecture(Design("stock")))
    for ours, nnunets in zip(getattr(net, other).stages, getattr(stock, other).stages, strict=True):
        assert ours.state_dict().keys() == nnunets.state_dict().keys()
    assert all(net.get_submodule(key).in_channels == 1 for key in net.keys_to_in_proj)
    assert net(torch.zeros(1, 1, 32, 32))[0].shape == (1, 2, 32, 32)


def test_decoder_has_no_pyramid_at_the_deepest_stage() -> None:
    designed = architecture(Design("dilated", part="decoder"))
    assert [stage.pyramid is None for stage in stages_of(designed)] == [False, False, True]
    with_all = deepcopy(designed)
    with_all["arch_kwargs"]["pyramid"] = architecture(Design("dilated"))["arch_kwargs"]["pyramid"]
    assert build(designed).state_dict().keys() == build(with_all).state_dict().keys()


def test_fewer_levels() -> None:
    designed = architecture(Design("dilated", levels=2))
    assert [stage["dilations"] for stage in designed["arch_kwargs"]["pyramid"]] == [[1, 2], [1, 2], [1, 2]]
    assert kernels_and_dilations(build(designed)) == {(3, 1), (3, 2)}


def test_command(preprocessed: Path, capsys: pytest.CaptureFixture[str]) -> None:
    main(["plan", "-d", "312", "-block", "dilated", "-width", "0.5", "-stages", "3"])
    out = capsys.readouterr().out
    name = "nnUNetPyConvDilatedWidth0.5Stages3Plans"
    assert "2d: PyConvUNet" in out
    assert "  stage 1: 8 features, kernels 3, 3, 3, 3, dilations 1, 2, 3, 4\n" in out
    assert f"Wrote {preprocessed / name}.json" in out
    assert f"Next: nnUNetv2_train 312 2d 0 -p {name}" in out
    main(["plan", "-d", "312", "-pyramid_stages", "1", "-levels", "2", "-part", "encoder"])
    out = capsys.readouterr().out
    assert "  stage 0: 8 features, kernels 3, 5\n  stage 1: 16 features\n" in out
    assert "-p nnUNetPyConvPyramidStages1Levels2EncoderPlans" in out
    main(["plan", "-d", "312", "-block", "stock", "-width", "0.5"])
    assert "  stage 0: 4 features\n" in capsys.readouterr().out


def test_design_of_the_papers_networks(preprocessed: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as exit_:
        main(["plan", "-d", "312", "--paper", "-width", "0.5"])
    assert exit_.value.code == 2
    assert "give neither -pl nor options of the network with it" in capsys.readouterr().err
