from __future__ import annotations

import ast
from copy import deepcopy
from pathlib import Path
from typing import Any

import nnunetv2
import pytest
import torch
from conftest import NnunetFolders
from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer
from nnunetv2.utilities.find_objects import recursive_find_trainer_class_by_name
from nnunetv2.utilities.plans_handling.plans_handler import PlansManager
from plans_of_nnunet import DATASET_JSON, make_plans
from torch import nn

from nnunet_pyconv.nn import PyConv2d
from nnunet_pyconv.nn.bottleneck import PyConvBottleneck
from nnunet_pyconv.planning import swap_plans
from nnunet_pyconv.trainer_dir import TRAINER_DIR
from nnunet_pyconv.trainers import (
    nnUNetTrainerPyConv,
    nnUNetTrainerPyConvPaper,
    nnUNetTrainerPyConvPaperBF16,
    variants,
)


@pytest.fixture(autouse=True)
def trainer_dir(monkeypatch: pytest.MonkeyPatch, nnunet_folders: NnunetFolders) -> None:
    monkeypatch.setenv("nnUNet_extTrainer", str(TRAINER_DIR))


def names_of_nnunets_variants() -> list[str]:
    folder = Path(nnunetv2.__path__[0]) / "training" / "nnUNetTrainer" / "variants"
    trees = [ast.parse(file.read_text()) for file in sorted(folder.rglob("*.py"))]
    return [node.name for tree in trees for node in tree.body if isinstance(node, ast.ClassDef)]


def make_trainer(name: str, plans: dict[str, Any] | None = None) -> nnUNetTrainer:
    trainer = recursive_find_trainer_class_by_name(name)
    plans = {**deepcopy(plans or make_plans()), "continue_training": False}
    return trainer(plans, "2d", 0, DATASET_JSON, torch.device("cpu"))


@pytest.mark.slow
@pytest.mark.parametrize("stock", names_of_nnunets_variants())
def test_every_variant_of_nnunet_has_its_counterpart(stock: str) -> None:
    trainer = recursive_find_trainer_class_by_name(stock.replace("nnUNetTrainer", "nnUNetTrainerPyConv", 1))
    assert trainer.__name__ == stock.replace("nnUNetTrainer", "nnUNetTrainerPyConv", 1)
    assert issubclass(trainer, nnUNetTrainerPyConv)
    assert issubclass(trainer, recursive_find_trainer_class_by_name(stock))


def test_names_that_users_know_are_among_them() -> None:
    epochs = {f"nnUNetTrainer_{n}epochs" for n in (5, 10, 20, 50, 100, 250)} | {"nnUNetTrainer_1epoch"}
    others = {f"nnUNetTrainer{name}" for name in ("NoMirroring", "NoDeepSupervision", "BN", "Adam")}
    assert epochs | others <= set(names_of_nnunets_variants())


@pytest.mark.parametrize(("name", "epochs"), [("_1epoch", 1), ("_50epochs", 50), ("_250epochs_NoMirroring", 250)])
def test_number_of_epochs(name: str, epochs: int) -> None:
    assert make_trainer(f"nnUNetTrainerPyConv{name}").num_epochs == epochs


@pytest.mark.parametrize("recipe", [nnUNetTrainerPyConvPaper, nnUNetTrainerPyConvPaperBF16])
def test_number_of_epochs_of_the_papers_recipe(recipe: type[nnUNetTrainerPyConvPaper]) -> None:
    trainer = make_trainer(f"{recipe.__name__}_5epochs")
    assert isinstance(trainer, recipe)
    assert (trainer.num_epochs, trainer.initial_lr, trainer.save_every) == (5, 1e-3, 5)


def test_results_carry_the_name_of_the_variant() -> None:
    trainer = make_trainer("nnUNetTrainerPyConv_5epochs")
    assert Path(trainer.output_folder).parent.name == "nnUNetTrainerPyConv_5epochs__nnUNetPlans__2d"
    assert set(trainer.my_init_kwargs) == {"plans", "configuration", "fold", "dataset_json", "device"}


@pytest.mark.parametrize("swapped_plans", [False, True], ids=["plans-of-nnunet", "plans-of-ours"])
def test_batch_normalisation_with_pyconv(swapped_plans: bool) -> None:
    plans = swap_plans(make_plans(), DATASET_JSON, "nnUNetPyConvPlans")[0] if swapped_plans else make_plans()
    trainer = make_trainer("nnUNetTrainerPyConvBN", plans)
    manager = PlansManager(deepcopy(plans))
    network = trainer.build_network_architecture(manager, manager.get_configuration("2d"), 1, 2, True)
    kinds = {type(module) for module in network.modules()}
    assert {PyConv2d, nn.BatchNorm2d} <= kinds
    assert nn.InstanceNorm2d not in kinds
    assert [tuple(output.shape) for output in network(torch.zeros(2, 1, 32, 32))] == [(2, 2, 32, 32), (2, 2, 16, 16)]


def test_bottleneck_of_a_variant() -> None:
    trainer = make_trainer("nnUNetTrainerPyConvBottleneck_50epochs")
    manager = PlansManager(deepcopy(make_plans()))
    network = trainer.build_network_architecture(manager, manager.get_configuration("2d"), 1, 2, True)
    assert trainer.num_epochs == 50
    assert any(isinstance(module, PyConvBottleneck) for module in network.modules())


def test_no_deep_supervision() -> None:
    trainer = make_trainer("nnUNetTrainerPyConvNoDeepSupervision")
    assert trainer.enable_deep_supervision is False
    assert trainer._get_deep_supervision_scales() is None


def test_no_mirroring() -> None:
    trainer = make_trainer("nnUNetTrainerPyConvNoMirroring")
    mirror_axes = trainer.configure_rotation_dummyDA_mirroring_and_inital_patch_size()[-1]
    assert mirror_axes is None
    assert trainer.inference_allowed_mirroring_axes is None


@pytest.mark.parametrize(("name", "optimizer"), [("Adam", torch.optim.AdamW), ("VanillaAdam3en4", torch.optim.Adam)])
def test_optimizer(name: str, optimizer: type) -> None:
    trainer = make_trainer(f"nnUNetTrainerPyConv{name}")
    trainer.network = nn.Linear(1, 1)
    assert type(trainer.configure_optimizers()[0]) is optimizer


def test_one_class_for_a_name() -> None:
    assert variants.nnUNetTrainerPyConv_5epochs is variants.nnUNetTrainerPyConv_5epochs


@pytest.mark.parametrize(
    "name", ["nnUNetTrainerPyConv_7epochs", "nnUNetTrainerPyConvPaper_7epochs", "nnUNetTrainer_5epochs", "BN"]
)
def test_names_that_are_no_variants(name: str) -> None:
    with pytest.raises(AttributeError, match=f"has no attribute '{name}'"):
        getattr(variants, name)
