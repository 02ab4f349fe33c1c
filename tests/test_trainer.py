from __future__ import annotations

import os
from copy import deepcopy
from typing import Any

import pytest
import torch
from nnunetv2.utilities.find_objects import recursive_find_trainer_class_by_name
from nnunetv2.utilities.plans_handling.plans_handler import PlansManager
from plans_of_nnunet import DATASET_JSON, make_plans

from nnunet_pyconv.architectures import PyConvUNet
from nnunet_pyconv.nn import PyConv2d
from nnunet_pyconv.planning import swap_plans
from nnunet_pyconv.trainer_dir import TRAINER_DIR
from nnunet_pyconv.trainers import nnUNetTrainerPyConv


def build(plans: dict[str, Any], **arguments: Any) -> torch.nn.Module:
    manager = PlansManager(deepcopy(plans))
    return nnUNetTrainerPyConv.build_network_architecture(manager, manager.get_configuration("2d"), 1, 2, **arguments)


def test_found_by_nnunets_finder(monkeypatch: pytest.MonkeyPatch, tmp_path: object) -> None:
    monkeypatch.setenv("nnUNet_extTrainer", os.pathsep.join([str(tmp_path), str(TRAINER_DIR)]))
    assert recursive_find_trainer_class_by_name("nnUNetTrainerPyConv") is nnUNetTrainerPyConv


@pytest.mark.parametrize("network", ["PlainConvUNet", "ResidualEncoderUNet"])
def test_swaps_the_network_of_any_plans(network: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("nnUNet_raw", "nnUNet_preprocessed", "nnUNet_results"):
        monkeypatch.delenv(name, raising=False)  # as at inference on another machine
    net = build(make_plans(network), enable_deep_supervision=True)
    assert type(net).__name__ == network
    assert any(isinstance(module, PyConv2d) for module in net.modules())
    assert len(net(torch.zeros(1, 1, 32, 32))) == 2
    one = build(make_plans(network), enable_deep_supervision=False)
    assert one(torch.zeros(1, 1, 32, 32)).shape == (1, 2, 32, 32)


@pytest.mark.parametrize("network", ["PlainConvUNet", "ResidualEncoderUNet"])
def test_our_plans_give_the_same_network(network: str) -> None:
    plans, _ = swap_plans(make_plans(network), DATASET_JSON, "nnUNetPyConvPlans")
    ours, swapped = build(plans), build(make_plans(network))
    assert type(ours).__name__.startswith("PyConv")
    assert {n: p.shape for n, p in ours.state_dict().items()} == {n: p.shape for n, p in swapped.state_dict().items()}


def test_plans_of_an_unswappable_network() -> None:
    plans = make_plans()
    plans["configurations"]["2d"]["architecture"] = {
        "network_class_name": "torch.nn.Identity",
        "arch_kwargs": {},
        "_kw_requires_import": [],
    }
    with pytest.raises(TypeError, match="Identity has no encoder and decoder"):
        build(plans)


def test_pyramid_of_plans_must_match_the_stages() -> None:
    plans, _ = swap_plans(make_plans(), DATASET_JSON, "nnUNetPyConvPlans")
    plans["configurations"]["2d"]["architecture"]["arch_kwargs"]["pyramid"].pop()
    with pytest.raises(ValueError, match="2 pyramids for 3 stages"):
        build(plans)


def test_network_without_plans() -> None:
    net = PyConvUNet(
        input_channels=3,
        n_stages=3,
        features_per_stage=(8, 16, 16),
        conv_op=torch.nn.Conv2d,
        kernel_sizes=3,
        strides=(1, 2, 2),
        n_conv_per_stage=1,
        num_classes=4,
        n_conv_per_stage_decoder=1,
        norm_op=torch.nn.InstanceNorm2d,
        nonlin=torch.nn.ReLU,
    )
    assert net(torch.zeros(1, 3, 16, 16)).shape == (1, 4, 16, 16)
