"""Loading a trained model as a teacher, and what it answers."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
import torch
from conftest import NnunetFolders
from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer
from teachers import make_trainer, plans_2d, plans_3d, write_split, write_teacher

from nnunet_pyconv.distillation import Teacher, TeacherName, load_teacher
from nnunet_pyconv.errors import InputError
from nnunet_pyconv.trainer_dir import TRAINER_DIR
from nnunet_pyconv.trainers import nnUNetTrainerPyConv

CPU = torch.device("cpu")


@pytest.fixture(autouse=True)
def _dataset(nnunet_folders: NnunetFolders, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("nnUNet_extTrainer", str(TRAINER_DIR))
    write_split(nnunet_folders)


def load(folder: Path, *folds: str) -> Teacher:
    return load_teacher(TeacherName(folder, folds or ("0",)), CPU)


@pytest.mark.parametrize(
    ("text", "folder", "folds"),
    [
        ("/results/model", "/results/model", ("3",)),
        ("/results/model:0", "/results/model", ("0",)),
        ("/results/model:0,2,0", "/results/model", ("0", "2")),
        ("/results/model:all", "/results/model", ("all",)),
        ("/results/a:b", "/results/a:b", ("3",)),
        ("/results/a:0;1", "/results/a:0;1", ("3",)),
        ("model:1", f"{Path.cwd()}/model", ("1",)),
    ],
)
def test_names(text: str, folder: str, folds: tuple[str, ...]) -> None:
    name = TeacherName.parse(text, student_fold=3)
    assert (str(name.folder), name.folds) == (folder, folds)
    assert TeacherName.parse(str(name), student_fold="all") == name


@pytest.mark.slow
@pytest.mark.parametrize(
    ("network", "trainer"), [("ResidualEncoderUNet", nnUNetTrainer), ("PlainConvUNet", nnUNetTrainerPyConv)]
)
def test_answers_with_the_mean_of_its_folds(network: str, trainer: type[nnUNetTrainer]) -> None:
    folder = write_teacher(plans_2d(network), folds=(0, 1, "all"), trainer=trainer)
    images = torch.randn(2, 1, 32, 32)
    expected = []
    for fold in (0, 1):
        made = make_trainer(trainer, plans_2d(network), fold)
        made.load_checkpoint(str(folder / f"fold_{fold}" / "checkpoint_final.pth"))
        made.set_deep_supervision_enabled(False)
        expected.append(made.network.eval()(images))
    teacher = load(folder, "0", "1")
    answer = teacher(images)
    assert not torch.allclose(expected[0], expected[1])
    torch.testing.assert_close(answer, (expected[0] + expected[1]) / 2)
    assert not answer.requires_grad
    assert not any(parameter.requires_grad for parameter in teacher.parameters())
    assert not any(module.training for module in teacher.modules())
    assert teacher.trainer_name == trainer.__name__


@pytest.mark.parametrize(
    ("size", "padded"),
    [
        ([32, 32], [32, 32]),
        ([64, 20], [64, 20]),
        ([30, 33], [32, 36]),
        ([4, 4], [8, 8]),
        ([3, 3], [8, 8]),
        ([4, 5], [4, 8]),
    ],
)
def test_patches_of_other_sizes(size: list[int], padded: list[int]) -> None:
    """Strides of 4 in all; instance normalisation needs more than one voxel at the bottom."""
    teacher = load(write_teacher(plans_2d()))
    assert teacher.padded_size(size) == padded
    images = torch.randn(1, 1, *size)
    answer = teacher(images)
    assert answer.shape == (1, 2, *size)
    before = [(there - here) // 2 for there, here in zip(padded, size, strict=True)]
    placed = torch.zeros(1, 1, *padded)
    window = (slice(None), slice(None), *(slice(b, b + n) for b, n in zip(before, size, strict=True)))
    placed[window] = images
    torch.testing.assert_close(answer, teacher.networks[0](placed)[window])


def test_patches_of_other_sizes_in_3d() -> None:
    teacher = load(write_teacher(plans_3d(), configuration="3d_fullres"))
    assert teacher.padded_size([8, 16, 16]) == [8, 16, 16]
    assert teacher.padded_size([7, 16, 18]) == [8, 16, 20]
    assert teacher(torch.randn(1, 1, 7, 16, 18)).shape == (1, 2, 7, 16, 18)


def test_no_model(nnunet_folders: NnunetFolders) -> None:
    for name in ("nowhere", ""):
        folder = nnunet_folders.results / name
        with pytest.raises(InputError, match=f"NNUNET_PYCONV_TEACHER names {folder}, which is no folder of a trained"):
            load(folder)


def test_fold_that_is_not_trained_to_its_end() -> None:
    folder = write_teacher(plans_2d(), folds=(0, 1))
    (folder / "fold_2").mkdir()
    (folder / "fold_2" / "checkpoint_best.pth").touch()
    with pytest.raises(InputError, match=r"has checkpoint_final.pth of fold 0, 1, not of 2, all; train that fold"):
        load(folder, "0", "2", "all")


def test_trainer_that_is_not_found(monkeypatch: pytest.MonkeyPatch) -> None:
    folder = write_teacher(plans_2d(), trainer=nnUNetTrainerPyConv)
    monkeypatch.delenv("nnUNet_extTrainer")
    with pytest.raises(InputError, match="and trainer nnUNetTrainerPyConv .*nnUNet_extTrainer"):
        load(folder)


def test_weights_of_another_network() -> None:
    folder = write_teacher(plans_2d())
    (folder / "plans.json").write_text(json.dumps(plans_2d("ResidualEncoderUNet")))
    with pytest.raises(InputError, match="could not be made of its plans.json"):
        load(folder)


def test_checkpoint_that_holds_code(tmp_path: Path) -> None:
    class Touch:
        def __reduce__(self) -> tuple[object, tuple[str]]:
            return os.mkdir, (str(tmp_path / "executed"),)

    folder = write_teacher(plans_2d())
    torch.save({"network_weights": Touch()}, folder / "fold_0" / "checkpoint_final.pth")
    with pytest.raises(InputError, match="would run code when it is loaded"):
        load(folder)
    assert not (tmp_path / "executed").exists()
