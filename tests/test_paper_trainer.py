"""The paper's recipe, piece by piece."""

from __future__ import annotations

from collections import Counter
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from batchgeneratorsv2.transforms.utils.compose import ComposeTransforms
from conftest import NnunetFolders
from nnunetv2.utilities.find_objects import recursive_find_trainer_class_by_name
from nnunetv2.utilities.plans_handling.plans_handler import PlansManager
from plans_of_nnunet import make_plans

from nnunet_pyconv.architectures import UNet
from nnunet_pyconv.planning.paper_plans import paper_configurations
from nnunet_pyconv.trainer_dir import TRAINER_DIR
from nnunet_pyconv.trainers import nnUNetTrainerPyConv, nnUNetTrainerPyConvPaper, nnUNetTrainerPyConvPaperBF16
from nnunet_pyconv.trainers.flips_and_rotations import flips_and_rotations
from nnunet_pyconv.trainers.whole_pass_loader import WholePassDataLoader

DATASET_JSON: dict[str, Any] = {"labels": {"background": 0, "cell": 1}, "channel_names": {"0": "EM"}}
DATASET_JSON["file_ending"] = ".png"
REGIONS = {"labels": {"background": 0, "cell": [1, 2], "nucleus": 2}, "regions_class_order": [1, 2]}
LABELS = SimpleNamespace(all_labels=[0, 1], has_ignore_label=False)


class MadeCases:
    """A dataset of n cases whose pixels are the number of the case."""

    def __init__(self, n: int) -> None:
        self.identifiers = [f"case_{i:02d}" for i in range(n)]

    def load_case(self, name: str) -> tuple[np.ndarray, np.ndarray, None, dict[str, Any]]:
        image = np.full((1, 1, 6, 6), int(name[-2:]), np.float32)
        return image, (image > 0).astype(np.int8), None, {"class_locations": {1: []}}


def loader(n: int, batch_size: int = 5, **arguments: Any) -> WholePassDataLoader:
    return WholePassDataLoader(MadeCases(n), batch_size, (6, 6), LABELS, None, **arguments)


def trainer(
    configuration: dict[str, Any] | None = None,
    dataset_json: dict[str, Any] | None = None,
    recipe: type[nnUNetTrainerPyConvPaper] = nnUNetTrainerPyConvPaper,
) -> nnUNetTrainerPyConvPaper:
    plans = make_plans()
    plans["configurations"]["2d"]["batch_dice"] = False
    plans["configurations"]["2d"] |= configuration or {}
    plans["continue_training"] = False
    return recipe(plans, "2d", 0, {**DATASET_JSON, **(dataset_json or {})}, torch.device("cpu"))


@pytest.fixture(autouse=True)
def _folders(nnunet_folders: NnunetFolders) -> None:
    """nnU-Net's trainers write a log."""


@pytest.mark.parametrize(("n", "sizes"), [(23, [5, 5, 5, 4, 4]), (10, [5, 5]), (6, [3, 3]), (3, [3]), (1, [1])])
def test_an_epoch_is_one_pass(n: int, sizes: list[int]) -> None:
    batches = loader(n, shuffle_seed=1)
    epochs = []
    for _ in range(3):
        epoch = [next(batches) for _ in range(batches.batches_per_epoch)]
        assert [len(batch["data"]) for batch in epoch] == sizes
        pixels = torch.cat([batch["data"] for batch in epoch])
        assert (pixels == pixels[:, :, :1, :1]).all()  # whole images
        epochs.append([int(value) for value in pixels[:, 0, 0, 0]])
        assert sorted(epochs[-1]) == list(range(n))
    if n > 3:
        assert epochs[0] != epochs[1] != epochs[2]


def test_validation_keeps_the_order() -> None:
    batches = loader(7)
    keys = [key for _ in range(2) for key in next(batches)["keys"]]
    assert keys == MadeCases(7).identifiers


def test_workers_share_one_sequence() -> None:
    whole = loader(12, shuffle_seed=3)
    expected = [list(whole.get_indices()) for _ in range(6)]
    workers = []
    for number in range(2):
        workers.append(loader(12, shuffle_seed=3, n_workers=2))
        workers[number].set_thread_id(number)
    assert [list(workers[i % 2].get_indices()) for i in range(6)] == expected


def test_gpus_share_each_batch() -> None:
    whole = loader(12, shuffle_seed=3)
    gpus = [loader(12, shuffle_seed=3, rank=rank, world_size=2) for rank in range(2)]
    for _ in range(6):
        assert [key for gpu in gpus for key in gpu.get_indices()] == list(whole.get_indices())
    with pytest.raises(ValueError, match="6 cases in batches of 5 leave a batch of 3, which 4 GPUs can't share"):
        loader(6, world_size=4)


def symmetries(image: torch.Tensor) -> set[tuple[float, ...]]:
    turned = [torch.rot90(image, k, (1, 2)) for k in range(4)]
    return {tuple(each.flatten().tolist()) for t in turned for each in (t, t.flip(2))}


def test_augmentation_gives_the_symmetries_of_the_square() -> None:
    torch.manual_seed(0)
    np.random.seed(0)
    transform = ComposeTransforms(flips_and_rotations((2, 2)))
    image = torch.arange(4.0).reshape(1, 2, 2)
    seen: Counter[tuple[float, ...]] = Counter()
    for _ in range(1600):
        out = transform(image=image.clone(), segmentation=image.clone())
        assert torch.equal(out["image"], out["segmentation"])
        seen[tuple(out["image"].flatten().tolist())] += 1
    assert set(seen) == symmetries(image)
    assert min(seen.values()) > 140  # of 200; six standard deviations would be 79 below
    assert max(seen.values()) < 280


def test_no_quarter_turn_without_a_square() -> None:
    transform = ComposeTransforms(flips_and_rotations((2, 3)))
    image = torch.arange(6.0).reshape(1, 2, 3)
    shapes = {transform(image=image.clone(), segmentation=image.clone())["image"].shape for _ in range(50)}
    assert shapes == {(1, 2, 3)}


def test_loss_of_one_class_is_sigmoid_and_binary_cross_entropy() -> None:
    """Value and gradient, in z = z1 - z0."""
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(2, 2, 5, 6, generator=generator, requires_grad=True)
    target = torch.randint(0, 2, (2, 1, 5, 6), generator=generator)
    loss = trainer()._build_loss()(logits, target)
    z = (logits[:, 1:] - logits[:, :1]).detach().requires_grad_()
    expected = F.binary_cross_entropy(torch.sigmoid(z), target.float())
    torch.testing.assert_close(loss, expected)
    loss.backward()
    expected.backward()
    assert logits.grad is not None
    torch.testing.assert_close(logits.grad[:, 1:], z.grad)
    torch.testing.assert_close(logits.grad[:, :1], -z.grad)  # type: ignore[operator]
    assert torch.equal(logits.argmax(1, keepdim=True) == 1, torch.sigmoid(z) > 0.5)


def test_loss_of_regions_is_binary_cross_entropy() -> None:
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(2, 2, 5, 6, generator=generator)
    target = torch.randint(0, 2, (2, 2, 5, 6), generator=generator)
    loss = trainer(dataset_json=REGIONS)._build_loss()(logits, target.bool())
    torch.testing.assert_close(loss, F.binary_cross_entropy_with_logits(logits, target.float()))


UNET_PLUS_PLUS = {
    "network_class_name": "nnunet_pyconv.architectures.UNetPlusPlus",
    "arch_kwargs": {"strides": [[1, 1]] * 5},
    "_kw_requires_import": [],
}


def test_deep_supervision_for_unet_plus_plus_alone() -> None:
    assert not trainer().enable_deep_supervision
    made = trainer({"architecture": UNET_PLUS_PLUS})
    assert made.enable_deep_supervision
    assert made._get_deep_supervision_scales() == [[1, 1]] * 4
    loss = made._build_loss()
    generator = torch.Generator().manual_seed(0)
    heads = [torch.randn(1, 2, 4, 4, generator=generator) for _ in range(4)]
    target = torch.randint(0, 2, (1, 1, 4, 4), generator=generator)
    expected = sum(F.cross_entropy(head, target[:, 0]) for head in heads) / 4
    torch.testing.assert_close(loss(heads, [target] * 4), expected)


def test_settings_are_the_papers() -> None:
    made = trainer()
    assert made.num_epochs == 50
    assert made.inference_allowed_mirroring_axes is None
    made.network = torch.nn.Linear(1, 1)
    optimizer, schedule = made.configure_optimizers()
    assert type(optimizer) is torch.optim.Adam
    rates = []
    for epoch in range(50):
        schedule.step(epoch)
        rates.append(optimizer.param_groups[0]["lr"])
    assert set(rates) == {1e-3}
    assert optimizer.param_groups[0]["weight_decay"] == 0


def test_the_best_epoch_is_that_of_the_highest_dice() -> None:
    """nnU-Net's moving average would still be rising at the third epoch."""
    made = trainer()
    for epoch, tp in enumerate([10, 90, 60]):
        made.current_epoch = epoch
        counts = {"tp_hard": np.array([tp]), "fp_hard": np.array([100 - tp]), "fn_hard": np.array([100 - tp])}
        made.on_validation_epoch_end([{"loss": np.array(0.0), **counts}])
    assert made.logger.get_value("ema_fg_dice", step=None) == pytest.approx([0.1, 0.9, 0.6])


@pytest.mark.parametrize(
    "configuration",
    [{"patch_size": [8, 8, 8]}, {"previous_stage": "2d_small"}],
    ids=["3d", "cascade"],
)
def test_what_it_is_not_for(configuration: dict[str, Any]) -> None:
    with pytest.raises(NotImplementedError, match="is for 2D configurations without cascade"):
        trainer(configuration)


def test_nnunet_trainer_pyconv_takes_the_papers_networks_as_they_are() -> None:
    plans = make_plans()
    plans["configurations"]["2d"]["architecture"] = {
        "network_class_name": "nnunet_pyconv.architectures.UNet",
        "arch_kwargs": {"strides": [[1, 1]] * 3},
        "_kw_requires_import": [],
    }
    manager = PlansManager(plans)
    net = nnUNetTrainerPyConv.build_network_architecture(manager, manager.get_configuration("2d"), 1, 2, True)
    assert type(net) is UNet
    assert len(net.eval()(torch.zeros(1, 1, 32, 32))) == 2


@pytest.mark.slow
@pytest.mark.parametrize("network", ["unet", "unet_plus_plus", "pyconv_unet"])
def test_steps_in_mixed_precision(network: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """As torch documents autocast, with the backward pass outside of it; all that is no step is in float32."""
    monkeypatch.setattr("nnunetv2.training.nnUNetTrainer.nnUNetTrainer.infer_dataset_class", lambda _: None)
    monkeypatch.setenv("NNUNET_PYCONV_SEED", "1")
    architecture = paper_configurations((64, 64))[f"2d_{network}"]["architecture"]
    generator = torch.Generator().manual_seed(0)
    target: Any = torch.randint(0, 2, (2, 1, 64, 64), generator=generator)
    data = torch.randn(2, 1, 64, 64, generator=generator) + target

    def initialized() -> nnUNetTrainerPyConvPaper:
        made = trainer({"architecture": architecture, "patch_size": [64, 64]}, recipe=nnUNetTrainerPyConvPaperBF16)
        made.initialize()
        return made

    documented = initialized()
    if documented.enable_deep_supervision:
        target = [target] * 4
    with torch.autocast("cpu", torch.bfloat16):
        loss = documented.loss(documented.network(data), target)
    loss.backward()
    torch.nn.utils.clip_grad_norm_(documented.network.parameters(), 12)  # as nnU-Net's step does

    made = initialized()
    dtypes: list[torch.dtype] = []
    first = next(module for module in made.network.modules() if isinstance(module, torch.nn.Conv2d))
    first.register_forward_hook(lambda module, given, output: dtypes.append(output.dtype))
    assert made.train_step({"data": data, "target": target})["loss"] == loss.item()
    made.validation_step({"data": data, "target": target})
    assert dtypes == [torch.bfloat16, torch.float32]
    for weight, expected in zip(made.network.parameters(), documented.network.parameters(), strict=True):
        torch.testing.assert_close(weight.grad, expected.grad, msg=f"{network} {tuple(weight.shape)}")


def test_found_beside_the_other_trainer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("nnUNet_extTrainer", str(TRAINER_DIR))
    assert recursive_find_trainer_class_by_name("nnUNetTrainerPyConvPaper") is nnUNetTrainerPyConvPaper
