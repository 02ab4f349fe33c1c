"""The trainers of nnU-Net's recipe for as many images as the paper's recipe sees."""

from __future__ import annotations

import inspect
from types import SimpleNamespace

import pytest
from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer

from nnunet_pyconv import paper
from nnunet_pyconv.errors import InputError
from nnunet_pyconv.nnunet_folders import find_trainer
from nnunet_pyconv.trainers.seed import SeededTrainer


def test_nnunet_finds_them_by_name() -> None:
    trainer = find_trainer("nnUNetTrainer_7passes")
    assert trainer.__name__ == "nnUNetTrainer_7passes"
    assert issubclass(trainer, SeededTrainer)
    assert list(inspect.signature(trainer.__init__).parameters) == list(
        inspect.signature(nnUNetTrainer.__init__).parameters
    )
    with pytest.raises(InputError, match="nnUNetTrainer_0passes"):
        find_trainer("nnUNetTrainer_0passes")


@pytest.mark.parametrize(
    ("batch_size", "training", "validation", "iterations"),
    [(12, 213, 54, (18, 5)), (2, 24, 6, (12, 3)), (5, 4, 0, (1, 1))],
    ids=["lung", "isbi", "no validation"],
)
def test_an_epoch_is_a_pass(
    batch_size: int, training: int, validation: int, iterations: tuple[int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    trainer = object.__new__(find_trainer("nnUNetTrainer_50passes"))
    # with several GPUs batch_size is the share of one
    trainer.configuration_manager, trainer.batch_size = SimpleNamespace(batch_size=batch_size), 1
    split = ([f"case_{number}" for number in range(cases)] for cases in (training, validation))
    monkeypatch.setattr(trainer, "do_split", lambda: tuple(split))
    monkeypatch.setattr(nnUNetTrainer, "get_dataloaders", lambda self: ("training", "validation"))
    assert trainer.get_dataloaders() == ("training", "validation")
    assert (trainer.num_iterations_per_epoch, trainer.num_val_iterations_per_epoch) == iterations


@pytest.mark.parametrize(
    ("trainer", "epochs"),
    [
        ("nnUNetTrainerPyConvPaper", 50),
        ("nnUNetTrainerPyConvPaper_5epochs", 5),
        ("nnUNetTrainerPyConvPaper_1epoch", 1),
        ("nnUNetTrainerPyConvPaperBF16", 50),
        ("nnUNetTrainerPyConvPaperBF16_5epochs", 5),
        ("nnUNetTrainer_20passes", 20),
        ("nnUNetTrainer_20epochs", None),
        ("nnUNetTrainerPyConvPaperMine", None),
    ],
)
def test_passes_by_the_name_of_the_trainer(trainer: str, epochs: int | None) -> None:
    assert paper.epochs_of(trainer) == epochs
