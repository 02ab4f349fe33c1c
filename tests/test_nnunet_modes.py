"""Modes of nnU-Net's trainer on single training steps: labels, channels, deep supervision, checkpoints, fine-tuning."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import torch
from conftest import NnunetFolders
from nnunetv2.run.load_pretrained_weights import load_pretrained_weights
from nnunetv2.run.run_training import maybe_load_checkpoint
from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer
from nnunetv2.utilities.plans_handling.plans_handler import PlansManager
from plans_of_nnunet import DATASET, dataset_json, make_plans, plans_3d
from torch._dynamo import OptimizedModule
from trainers_of_nnunet import make_trainer

from nnunet_pyconv.architectures.pyconv_unet import check_patch_size
from nnunet_pyconv.nn import BLOCKS, Block
from nnunet_pyconv.nn.pyconv import PyConv
from nnunet_pyconv.planning import Design, swap_plans
from nnunet_pyconv.trainers import nnUNetTrainerPyConv, nnUNetTrainerPyConvPaper
from nnunet_pyconv.trainers.variants import nnUNetTrainerPyConvNoDeepSupervision

NETWORKS = ["PlainConvUNet", "ResidualEncoderUNet"]


@pytest.fixture(autouse=True)
def preprocessed(nnunet_folders: NnunetFolders) -> None:
    """Folders with one file each, from which nnU-Net takes the format of the preprocessed data."""
    for configuration in ("2d", "3d_fullres", "3d_lowres"):
        folder = nnunet_folders.preprocessed / DATASET / f"nnUNetPlans_{configuration}"
        folder.mkdir(parents=True)
        (folder / "case.b2nd").touch()


def make_batch(trainer: nnUNetTrainer) -> dict[str, Any]:
    """A random batch as nnU-Net's dataloader gives it: labels, or a map for each region and the ignored pixels."""
    manager = trainer.label_manager
    size = [trainer.batch_size, *trainer.configuration_manager.patch_size]
    targets = []
    for scale in trainer._get_deep_supervision_scales() or [[1.0] * len(size[1:])]:
        scaled = [size[0], *(round(edge * factor) for edge, factor in zip(size[1:], scale, strict=True))]
        labels = torch.randint(0, max(manager.all_labels) + 1 + manager.has_ignore_label, [scaled[0], 1, *scaled[1:]])
        if manager.has_regions:
            regions = [*manager.foreground_regions, *([manager.ignore_label] if manager.has_ignore_label else [])]
            maps = [torch.isin(labels, torch.tensor(region)) for region in regions]
            targets.append(torch.cat(maps, 1).float())
        else:
            targets.append(labels.float())
    data = torch.randn(size[0], trainer.num_input_channels, *size[1:])
    return {"data": data, "target": targets if trainer.enable_deep_supervision else targets[0]}


def check_step(trainer: nnUNetTrainer) -> None:
    """A step gives every parameter that the loss reaches a gradient; validation counts for each class or region."""
    assert any(isinstance(module, PyConv) for module in trainer.network.modules())
    assert torch.isfinite(torch.as_tensor(trainer.train_step(make_batch(trainer))["loss"]))
    heads = [f"seg_layers.{i}." for i in range(len(trainer.network.decoder.seg_layers))]
    # the lowest resolution has the weight 0; without deep supervision the highest has the only output
    unreached = heads[:1] if trainer.enable_deep_supervision else heads[:-1]
    without = {name for name, parameter in trainer.network.named_parameters() if parameter.grad is None}
    assert all(any(head in name for head in unreached) for name in without)
    assert all(p.grad.isfinite().all() for p in trainer.network.parameters() if p.grad is not None)
    trainer.network.eval()
    with torch.no_grad():
        metrics = trainer.validation_step(make_batch(trainer))
    manager = trainer.label_manager
    assert len(metrics["tp_hard"]) == len(
        manager.foreground_regions if manager.has_regions else manager.foreground_labels
    )


REGIONS = {"background": 0, "whole": [1, 2], "core": 2}


@pytest.mark.parametrize("network", NETWORKS)
@pytest.mark.parametrize(
    "dataset",
    [
        pytest.param(dataset_json(2), id="2-classes"),
        pytest.param(dataset_json(20), id="20-classes"),
        pytest.param(dataset_json(3, channels=4), id="4-channels"),
        pytest.param(dataset_json({"background": 0, "a": 1, "ignore": 2}), id="ignore"),
        pytest.param(dataset_json(REGIONS, regions_class_order=[1, 2]), id="regions"),
        pytest.param(dataset_json({**REGIONS, "ignore": 3}, regions_class_order=[1, 2]), id="regions+ignore"),
    ],
)
def test_labels_and_channels(network: str, dataset: dict[str, Any]) -> None:
    check_step(make_trainer(make_plans(network), "2d", dataset))


@pytest.mark.parametrize("network", NETWORKS)
@pytest.mark.parametrize("configuration", ["3d_fullres", "3d_lowres", "3d_cascade_fullres"])
@pytest.mark.parametrize("swapped", [False, True], ids=["plans-of-nnunet", "plans-of-ours"])
def test_three_dimensions(network: str, configuration: str, swapped: bool) -> None:
    dataset, plans = dataset_json(3), plans_3d(network)
    if swapped:
        plans, _ = swap_plans(plans, dataset, "nnUNetPyConvPlans")
    trainer = make_trainer(plans, configuration, dataset)
    assert trainer.num_input_channels == (3 if configuration == "3d_cascade_fullres" else 1)  # one-hot labels of lowres
    check_step(trainer)


@pytest.mark.parametrize("network", NETWORKS)
def test_without_deep_supervision(network: str) -> None:
    check_step(make_trainer(make_plans(network), "2d", dataset_json(), nnUNetTrainerPyConvNoDeepSupervision))


@pytest.mark.parametrize("network", NETWORKS)
def test_fine_tuning_to_other_classes(network: str, tmp_path: Path) -> None:
    """nnU-Net's own loading: all weights but those of the heads are taken over."""
    first = make_trainer(make_plans(network), "2d", dataset_json(2))
    first.save_checkpoint(str(tmp_path / "first.pth"))
    second = make_trainer(make_plans(network), "2d", dataset_json(5))
    for parameter in second.network.parameters():
        torch.nn.init.zeros_(parameter)
    load_pretrained_weights(second.network, str(tmp_path / "first.pth"))
    weights = first.network.state_dict()
    for name, weight in second.network.state_dict().items():
        assert not weight.any() if ".seg_layers." in name else torch.equal(weight, weights[name]), name
    check_step(second)


def our_plans(patch_size: int) -> dict[str, Any]:
    """Plans of ours for patches of 32 x 32, whose patch is then changed."""
    plans, _ = swap_plans(make_plans(), dataset_json(), "nnUNetPyConvPlans")
    plans["configurations"]["2d"]["patch_size"] = [patch_size, patch_size]
    return plans


@pytest.mark.parametrize(
    ("first", "second"),
    [
        (make_plans(), make_plans(patch_size=28)),  # its last map, 7 x 7, carries the same kernels as 8 x 8
        (make_plans(), our_plans(32)),
        (our_plans(32), make_plans()),
        (make_plans(), our_plans(64)),  # their pyramids are part of the plans
    ],
    ids=["smaller-patch", "to-our-plans", "from-our-plans", "larger-patch-with-our-plans"],
)
def test_fine_tuning_with_other_plans(first: dict[str, Any], second: dict[str, Any], tmp_path: Path) -> None:
    pretrained = make_trainer(first, "2d", dataset_json(2))
    pretrained.save_checkpoint(str(tmp_path / "first.pth"))
    for parameter in pretrained.network.parameters():
        parameter.data.zero_()  # the file has what the second network must get, and this one no longer
    tuned = make_trainer(second, "2d", dataset_json(5))
    maybe_load_checkpoint(tuned, False, False, str(tmp_path / "first.pth"))
    weights = torch.load(tmp_path / "first.pth", weights_only=False)["network_weights"]
    for name, weight in tuned.network.state_dict().items():
        assert ".seg_layers." in name or torch.equal(weight, weights[name]), name
    check_step(tuned)


@pytest.mark.parametrize(
    ("plans", "configuration", "message"),
    [
        # 16 x 16 pixels carry 9, which 8 x 8 do not: 32 channels are 8 + 8 + 8 + 8 and were 16 + 8 + 8
        (make_plans(patch_size=64), "2d", r"stages\.2\..*levels\.0\.weight is not the same.*\[16, 16, 3, 3\]"),
        (plans_3d("PlainConvUNet"), "3d_fullres", r"levels\.0\.weight is not the same.*\[2, 1, 3, 3\]"),
    ],
    ids=["other-pyramids", "2d-to-3d"],
)
def test_fine_tuning_that_nnunet_refuses(
    plans: dict[str, Any], configuration: str, message: str, tmp_path: Path
) -> None:
    """Its assertion names the weight and the shape that the checkpoint has; the file is out of our sight."""
    make_trainer(make_plans(), "2d", dataset_json()).save_checkpoint(str(tmp_path / "first.pth"))
    with pytest.raises(AssertionError, match=message):
        maybe_load_checkpoint(
            make_trainer(plans, configuration, dataset_json()), False, False, str(tmp_path / "first.pth")
        )


@pytest.mark.parametrize(
    "trainer",
    [nnUNetTrainerPyConv, nnUNetTrainerPyConvNoDeepSupervision, nnUNetTrainerPyConvPaper],
    ids=lambda trainer: trainer.__name__,
)
def test_patch_too_small_for_the_pyramid(trainer: type[nnUNetTrainer], nnunet_folders: NnunetFolders) -> None:
    plans = our_plans(32)
    plans["configurations"]["2d"]["patch_size"] = [28, 24]
    message = (
        "patch_size [28, 24] is too small for the pyramid of these plans: the feature map of stage 2 has 7 x 6 pixels, "
        "its levels reach [3, 5, 7]; expected none to reach further than the map"
    )
    with pytest.raises(
        ValueError, match=f"^{re.escape(message)}.*{re.escape('[[3, 5, 7, 9], [3, 5, 7, 9], [3, 5]]')}$"
    ):
        make_trainer(plans, "2d", dataset_json(), trainer)
    assert not list(nnunet_folders.results.iterdir())


@pytest.mark.slow
@pytest.mark.parametrize("network", NETWORKS)
@pytest.mark.parametrize("block", BLOCKS)
@pytest.mark.parametrize("pyramid_stages", [None, 1])
def test_patch_of_the_plans_that_we_write_is_large_enough(
    network: str, block: Block, pyramid_stages: int | None
) -> None:
    for source, patch_size in ((make_plans(network), [13, 3]), (plans_3d(network), [3, 21, 10])):
        for plan in source["configurations"].values():
            plan.update({"patch_size": patch_size} if "architecture" in plan else {})
        plans, _ = swap_plans(source, dataset_json(), "nnUNetPyConvPlans", Design(block, pyramid_stages=pyramid_stages))
        manager = PlansManager(plans)
        for name in manager.available_configurations:
            configuration = manager.get_configuration(name)
            check_patch_size(configuration.patch_size, configuration.network_arch_init_kwargs)


def test_checkpoint_of_a_compiled_network(tmp_path: Path) -> None:
    """With nnUNet_compile the network is wrapped; the checkpoint is that of the network itself."""
    trainer = make_trainer(make_plans(), "2d", dataset_json())
    names = set(trainer.network.state_dict())
    trainer.network = torch.compile(trainer.network)
    trainer.save_checkpoint(str(tmp_path / "compiled.pth"))
    assert set(torch.load(tmp_path / "compiled.pth", weights_only=False)["network_weights"]) == names
    plain = make_trainer(make_plans(), "2d", dataset_json())
    plain.load_checkpoint(str(tmp_path / "compiled.pth"))
    assert plain.current_epoch == 1


@pytest.mark.parametrize("setting", ["1", "0"])
def test_compile_setting_on_a_cpu(setting: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """nnU-Net does not compile on a CPU, whatever the variable says."""
    monkeypatch.setenv("nnUNet_compile", setting)
    trainer = make_trainer(make_plans(), "2d", dataset_json())
    assert not isinstance(trainer.network, OptimizedModule)
    check_step(trainer)
