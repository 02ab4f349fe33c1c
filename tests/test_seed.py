from __future__ import annotations

import pytest
import torch
from conftest import NnunetFolders
from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer
from plans_of_nnunet import make_plans

from nnunet_pyconv.names import SEED_VARIABLE
from nnunet_pyconv.trainers import nnUNetTrainerPyConv, nnUNetTrainerPyConvPaper
from nnunet_pyconv.trainers.seed import SeededTrainer

DATASET_JSON = {"labels": {"background": 0, "cell": 1}, "channel_names": {"0": "EM"}, "file_ending": ".png"}


@pytest.fixture(autouse=True)
def _no_data(nnunet_folders: NnunetFolders, monkeypatch: pytest.MonkeyPatch) -> None:
    """nnU-Net's trainers look at the preprocessed data to see how they are stored."""
    monkeypatch.setattr("nnunetv2.training.nnUNetTrainer.nnUNetTrainer.infer_dataset_class", lambda _: None)


def initial_weights(trainer_class: type[SeededTrainer]) -> tuple[int | None, torch.Tensor]:
    plans = make_plans()
    plans["configurations"]["2d"]["batch_dice"] = False
    trainer = trainer_class({**plans, "continue_training": False}, "2d", 0, DATASET_JSON, torch.device("cpu"))
    trainer.initialize()
    return trainer.seed, torch.cat([weight.detach().flatten() for weight in trainer.network.parameters()])


@pytest.mark.parametrize("trainer_class", [nnUNetTrainerPyConv, nnUNetTrainerPyConvPaper])
def test_seed_determines_the_initial_weights(
    trainer_class: type[SeededTrainer], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert issubclass(trainer_class, nnUNetTrainer)
    runs = []
    for seed in ("7", "7", "8"):
        monkeypatch.setenv(SEED_VARIABLE, seed)
        runs.append(initial_weights(trainer_class))
    assert [seed for seed, _ in runs] == [7, 7, 8]
    assert torch.equal(runs[0][1], runs[1][1])
    assert not torch.equal(runs[0][1], runs[2][1])


def test_without_a_seed_the_weights_differ(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(SEED_VARIABLE, raising=False)
    first, second = (initial_weights(nnUNetTrainerPyConv) for _ in range(2))
    assert first[0] is None
    assert not torch.equal(first[1], second[1])


@pytest.mark.parametrize("seed", ["-1", "a", "4294967296", ""])
def test_seed_that_is_none(seed: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(SEED_VARIABLE, seed)
    with pytest.raises(ValueError, match=f"{SEED_VARIABLE}={seed}: expected a whole number from 0 to"):
        initial_weights(nnUNetTrainerPyConv)
