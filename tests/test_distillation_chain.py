"""A stock model teaches half a network of ours, through nnU-Net's own console commands."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest
from conftest import NnunetFolders
from console_commands import run
from teachers import write_teacher

from nnunet_pyconv.checkpoints import load_checkpoint
from nnunet_pyconv.dataset_conversion import isbi_cell
from nnunet_pyconv.dataset_conversion.conversion import convert
from nnunet_pyconv.distillation import TEACHER_VARIABLE
from nnunet_pyconv.synthetic.isbi import write_synthetic_isbi
from nnunet_pyconv.trainer_dir import TRAINER_DIR

pytestmark = pytest.mark.slow

DATASET = "Dataset312_ISBICell"
PLANS = "nnUNetPyConvDilatedWidth0.5Plans"
SHORT_TRAINERS = """
import os

from nnunet_pyconv.trainers import nnUNetTrainerPyConvDistilled


class StudentShort(nnUNetTrainerPyConvDistilled):
    def __init__(self, plans, configuration, fold, dataset_json, device):
        super().__init__(plans, configuration, fold, dataset_json, device)
        self.num_epochs = int(os.environ.get("EPOCHS", 1))
        self.num_iterations_per_epoch, self.num_val_iterations_per_epoch = 4, 1
"""


@pytest.fixture
def folders(nnunet_folders: NnunetFolders, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> NnunetFolders:
    """Preprocessed data of 10 cases, plans of half the width, and a short trainer."""
    write_synthetic_isbi(tmp_path / "source", labelled=10, unlabelled=1, size_px=48)
    convert(isbi_cell, tmp_path / "source")
    run("nnUNetv2_plan_and_preprocess", "-d", "312", "-c", "2d", "-np", "2")
    run("nnunet_pyconv", "plan", "-d", "312", "-block", "dilated", "-width", "0.5")
    (tmp_path / "trainers").mkdir()
    (tmp_path / "trainers" / "short_trainers.py").write_text(SHORT_TRAINERS)
    monkeypatch.setenv("nnUNet_extTrainer", os.pathsep.join([str(TRAINER_DIR), str(tmp_path / "trainers")]))
    monkeypatch.delenv(TEACHER_VARIABLE, raising=False)
    return nnunet_folders


def train(*arguments: str, **environment: str) -> str:
    own = ("-tr", "StudentShort", "-p", PLANS, "-device", "cpu")
    return run("nnUNetv2_train", "312", "2d", "0", *own, *arguments, **environment)


def test_from_a_teacher_to_a_prediction(folders: NnunetFolders, tmp_path: Path) -> None:
    planned = folders.preprocessed / DATASET
    dataset_json = json.loads((planned / "dataset.json").read_text())
    teacher = write_teacher(json.loads((planned / "nnUNetPlans.json").read_text()), dataset_json=dataset_json)
    fold = folders.results / DATASET / f"StudentShort__{PLANS}__2d" / "fold_0"
    summary = fold / "validation" / "summary.json"

    train(NNUNET_PYCONV_TEACHER=str(teacher))
    assert json.loads((fold / "debug.json").read_text())["teacher_name"] == f"{teacher}:0"
    assert len(json.loads(summary.read_text())["metric_per_case"]) == 2
    summary.unlink()

    train("--c", EPOCHS="2")  # with the teacher of the checkpoint
    checkpoint = load_checkpoint(fold / "checkpoint_final.pth")
    assert checkpoint["current_epoch"] == 2
    assert checkpoint["init_args"]["nnunet_pyconv_teacher"] == f"{teacher}:0"
    assert summary.is_file()
    teachers = load_checkpoint(teacher / "fold_0" / "checkpoint_final.pth")
    assert number_of_weights(checkpoint) < number_of_weights(teachers) / 3

    teacher.rename(tmp_path / "away")
    run(
        "nnUNetv2_predict", "-d", "312", "-i", str(folders.raw / DATASET / "imagesTs"), "-o", str(tmp_path / "out"),
        "-c", "2d", "-f", "0", "-tr", "StudentShort", "-p", PLANS, "-device", "cpu", "-npp", "1", "-nps", "1",
    )  # fmt: skip
    predicted = {file.name for file in (tmp_path / "out").glob("*.png")}
    assert predicted == {file.name for file in (folders.raw / DATASET / "labelsTs").glob("*.png")}


def number_of_weights(checkpoint: dict[str, Any]) -> int:
    return sum(weight.numel() for weight in checkpoint["network_weights"].values())
