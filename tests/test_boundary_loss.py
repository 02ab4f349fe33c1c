"""The loss of boundaries: by hand, for classes, regions and ignored pixels, and in nnU-Net's trainers."""

from __future__ import annotations

import json
from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from conftest import NnunetFolders
from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer
from nnunetv2.utilities.find_objects import recursive_find_trainer_class_by_name
from plans_of_nnunet import dataset_json, make_plans, plans_3d
from torch import nn
from trainers_of_nnunet import make_trainer

from nnunet_pyconv.nn.pyconv import PyConv
from nnunet_pyconv.planning import plan_paper
from nnunet_pyconv.trainer_dir import TRAINER_DIR
from nnunet_pyconv.trainers import nnUNetTrainerBoundary, nnUNetTrainerPyConvBoundary
from nnunet_pyconv.trainers.boundary_loss import BoundaryLoss


class Constant(nn.Module):
    """A loss of the labels that is always 3."""

    def forward(self, output: Any, target: Any) -> torch.Tensor:
        return torch.tensor(3.0)


def loss(radius: tuple[int, ...] = (1, 1), **changes: Any) -> BoundaryLoss:
    return BoundaryLoss(Constant(), **{"weight": 2, "radius": radius, "regions": False, "ignore_label": None} | changes)


def noise(*size: int) -> torch.Tensor:
    return torch.randn(size, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize(("radius", "columns"), [((1, 1), slice(2, 4)), ((2, 2), slice(1, 5)), ((2, 1), slice(2, 4))])
def test_two_classes_by_hand(radius: tuple[int, ...], columns: slice) -> None:
    logits, target = noise(2, 2, 5, 6), torch.zeros(2, 1, 5, 6)
    target[..., 3:] = 1
    expected = F.cross_entropy(logits, target[:, 0].long(), reduction="none")[..., columns].mean()
    torch.testing.assert_close(loss(radius)(logits, target), 3 + 2 * expected)


def test_thin_structures_are_boundary_as_a_whole() -> None:
    logits, target = noise(1, 3, 5, 7), torch.zeros(1, 1, 5, 7)
    target[..., 3:5], target[..., 5:] = 1, 2
    expected = F.cross_entropy(logits, target[:, 0].long(), reduction="none")[..., 2:6].mean()
    torch.testing.assert_close(loss()(logits, target), 3 + 2 * expected)


def test_ignored_pixels_have_no_say() -> None:
    """Label 2 is ignored: it makes no boundary, and hides none."""
    logits, target = noise(1, 2, 5, 8), torch.zeros(1, 1, 5, 8)
    target[..., 3:], target[..., 6:] = 1, 2
    target[:, :, 0, 3] = 2
    near = torch.zeros(5, 8, dtype=torch.bool)
    near[:, 2:4] = True
    near[0, 3] = False
    expected = F.cross_entropy(logits, target[:, 0].clamp(max=1).long(), reduction="none")[0][near].mean()
    torch.testing.assert_close(loss(ignore_label=2)(logits, target), 3 + 2 * expected)


def test_regions_have_boundaries_of_their_own() -> None:
    logits, target = noise(1, 2, 5, 8), torch.zeros(1, 3, 5, 8)
    target[:, 0, :, 2:], target[:, 1, :, 5:], target[:, 2, 1] = 1, 1, 1  # the last channel marks ignored pixels
    near = torch.zeros(2, 5, 8, dtype=torch.bool)
    near[0, :, 1:3] = near[1, :, 4:6] = True
    near[:, 1] = False
    losses = F.binary_cross_entropy_with_logits(logits, target[:, :2], reduction="none")[0]
    found = loss(regions=True, ignore_label=3)(logits, target)
    torch.testing.assert_close(found, 3 + 2 * losses[near].mean())


def test_slices_that_lie_far_apart_are_no_neighbours() -> None:
    logits, target = noise(1, 2, 4, 6, 6), torch.zeros(1, 1, 4, 6, 6)
    target[:, :, 2:] = 1
    assert loss((0, 1, 1))(logits, target) == 3
    assert loss((1, 1, 1))(logits, target) > 3


def test_without_a_boundary_it_is_the_loss_of_the_labels() -> None:
    logits = noise(1, 2, 5, 6).requires_grad_()
    found = loss()(logits, torch.ones(1, 1, 5, 6))
    assert found == 3
    found.backward()
    assert not logits.grad.any()


def test_deep_supervision_compares_full_resolution() -> None:
    logits, target = noise(1, 2, 8, 8), torch.zeros(1, 1, 8, 8)
    target[..., 4:] = 1
    others = noise(1, 2, 4, 4), torch.zeros(1, 1, 4, 4)
    torch.testing.assert_close(loss()([logits, others[0]], [target, others[1]]), loss()(logits, target))


@pytest.mark.parametrize(
    ("weight", "radius"), [(0, (1, 1)), (float("nan"), (1, 1)), (1, (0, 0)), (1, (1, -1)), (1, (1,))]
)
def test_numbers_out_of_range(weight: float, radius: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match=r"expected a weight above 0, and for two or three axes a radius"):
        loss(radius, weight=weight)


def test_networks_with_kernels_of_their_own(
    preprocessed: Path, monkeypatch: pytest.MonkeyPatch, nnunet_folders: NnunetFolders
) -> None:
    """The paper's networks have none in the plans."""
    monkeypatch.setattr("nnunetv2.training.nnUNetTrainer.nnUNetTrainer.infer_dataset_class", lambda _: None)
    plans = json.loads((preprocessed / "nnUNetPlans.json").read_text())
    plans["configurations"]["2d"]["median_image_size_in_voxels"] = [32, 32]
    (preprocessed / "nnUNetPlans.json").write_text(json.dumps(plans))
    file, names = plan_paper(312)
    trainer = make_trainer(json.loads(file.read_text()), names[0], dataset_json(2), nnUNetTrainerBoundary)
    assert "radius=(2, 2)" in repr(trainer.loss)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "base"),
    [
        ("nnUNetTrainerBoundary", nnUNetTrainerBoundary),
        ("nnUNetTrainerPyConvBoundary", nnUNetTrainerPyConvBoundary),
        ("nnUNetTrainerBoundary_50epochs", nnUNetTrainerBoundary),
        ("nnUNetTrainerPyConvBoundaryNoDeepSupervision", nnUNetTrainerPyConvBoundary),
    ],
)
@pytest.mark.parametrize(
    ("plans", "configuration", "dataset"),
    [
        pytest.param(make_plans(), "2d", dataset_json(3), id="2d"),
        pytest.param(plans_3d("PlainConvUNet"), "3d_fullres", dataset_json(3), id="3d"),
        pytest.param(
            make_plans(),
            "2d",
            dataset_json({"background": 0, "whole": [1, 2], "core": 2, "ignore": 3}, regions_class_order=[1, 2]),
            id="regions-ignore",
        ),
    ],
)
def test_trainers(
    name: str,
    base: type[nnUNetTrainer],
    plans: dict[str, Any],
    configuration: str,
    dataset: dict[str, Any],
    monkeypatch: pytest.MonkeyPatch,
    nnunet_folders: NnunetFolders,
) -> None:
    """A step makes nnU-Net's loss and the boundary's; debug.json says which."""
    monkeypatch.setenv("nnUNet_extTrainer", str(TRAINER_DIR))
    monkeypatch.setattr("nnunetv2.training.nnUNetTrainer.nnUNetTrainer.infer_dataset_class", lambda _: None)
    trainer_class = recursive_find_trainer_class_by_name(name)
    assert issubclass(trainer_class, base)
    trainer = make_trainer(deepcopy(plans), configuration, dataset, trainer_class)
    assert any(isinstance(module, PyConv) for module in trainer.network.modules()) == ("PyConv" in name)
    size = [2, trainer.num_input_channels, *trainer.configuration_manager.patch_size]
    n_targets = 3 if trainer.label_manager.has_regions else 1  # two regions, and what is ignored
    targets = []
    for scale in trainer._get_deep_supervision_scales() or [[1] * (len(size) - 2)]:
        target = torch.zeros(size[0], n_targets, *(round(edge * f) for edge, f in zip(size[2:], scale, strict=True)))
        target[:, 0, ..., target.shape[-1] // 2 :] = 1
        targets.append(target)
    batch = {"data": noise(*size), "target": targets if trainer.enable_deep_supervision else targets[0]}
    with torch.no_grad():
        of_labels = trainer.loss.labels_loss(trainer.network(batch["data"]), batch["target"]).item()
    assert trainer.train_step(batch)["loss"] > of_labels
    assert f"radius={(0, 2, 2) if len(size) == 5 else (2, 2)}" in repr(trainer.loss)
