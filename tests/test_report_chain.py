"""The report of real trainings: nnU-Net's own commands, then ours."""

from __future__ import annotations

import csv
import os
import re
from pathlib import Path

import pytest
from conftest import NnunetFolders
from console_commands import run
from nnunetv2.evaluation.evaluate_predictions import load_summary_json

from nnunet_pyconv.dataset_conversion import isbi_cell
from nnunet_pyconv.dataset_conversion.conversion import convert
from nnunet_pyconv.synthetic.isbi import write_synthetic_isbi
from nnunet_pyconv.trainer_dir import TRAINER_DIR

pytestmark = pytest.mark.slow

DATASET, EPOCHS = "Dataset312_ISBICell", 2
TRAINERS = ("nnUNetTrainer_Short", "nnUNetTrainerPyConvShort")
SHORT_TRAINERS = f"""
from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer
from nnunet_pyconv.trainers import nnUNetTrainerPyConv


class Short:
    def __init__(self, plans, configuration, fold, dataset_json, device):
        super().__init__(plans, configuration, fold, dataset_json, device)
        self.num_epochs = {EPOCHS}
        self.num_iterations_per_epoch = 4
        self.num_val_iterations_per_epoch = 1


class {TRAINERS[0]}(Short, nnUNetTrainer):
    def __init__(self, plans, configuration, fold, dataset_json, device):
        super().__init__(plans, configuration, fold, dataset_json, device)


class {TRAINERS[1]}(Short, nnUNetTrainerPyConv):
    def __init__(self, plans, configuration, fold, dataset_json, device):
        super().__init__(plans, configuration, fold, dataset_json, device)
"""


def test_two_trainings_and_a_test_set(nnunet_folders: NnunetFolders, tmp_path: Path) -> None:
    write_synthetic_isbi(tmp_path / "source", labelled=10, unlabelled=1, size_px=48)
    convert(isbi_cell, tmp_path / "source")
    (tmp_path / "trainers").mkdir()
    (tmp_path / "trainers/short.py").write_text(SHORT_TRAINERS)
    trainers = {"nnUNet_extTrainer": os.pathsep.join([str(TRAINER_DIR), str(tmp_path / "trainers")])}
    run("nnUNetv2_plan_and_preprocess", "-d", "312", "-c", "2d", "-np", "1")
    images, predictions = nnunet_folders.raw / DATASET / "imagesTs", []
    for trainer in TRAINERS:
        run("nnUNetv2_train", "312", "2d", "0", "-tr", trainer, "-device", "cpu", "--npz", **trainers)
        folder = tmp_path / trainer
        predict = ("-d", "312", "-c", "2d", "-f", "0", "-tr", trainer, "-device", "cpu", "-npp", "0", "-nps", "0")
        run("nnUNetv2_predict", *predict, "-i", str(images), "-o", str(folder), **trainers)
        predictions.append(f"{trainer}={folder}")

    report = tmp_path / "report"
    run("nnunet_pyconv", "report", "-d", "312", "-f", "0", "--predictions", *predictions, "-np", "2", "-o", str(report))
    for kind, images_are in (("validation", 2), ("test", 2)):
        with (report / f"tables/{DATASET}_{kind}_table_2.csv").open(newline="") as stream:
            rows = {row["model"]: row for row in csv.DictReader(stream)}
        assert {row["images"] for row in rows.values()} == {str(images_are)}
        assert set(rows) == set(TRAINERS)
        if kind == "validation":
            for trainer in TRAINERS:
                fold = nnunet_folders.results / DATASET / f"{trainer}__nnUNetPlans__2d/fold_0"
                theirs = load_summary_json(str(fold / "validation/summary.json"))["mean"][1]
                assert float(rows[trainer]["dice"]) == pytest.approx(theirs["Dice"])
                assert float(rows[trainer]["iou"]) == pytest.approx(theirs["IoU"])
    page = (report / "report.html").read_text()
    assert "From probabilities" in page
    assert "Baseline: nnUNetTrainer_Short (by default a stock trainer" in page
    with (report / f"tables/{DATASET}_validation_models.csv").open(newline="") as stream:
        assert [row["epochs"] for row in csv.DictReader(stream)] == [str(EPOCHS)] * 2
    log = next((nnunet_folders.results / DATASET).glob("*PyConvShort*/fold_0/training_log_*.txt")).read_text()
    last_loss = re.findall(r"train_loss (\S+)", log)[-1]
    models = (report / f"tables/{DATASET}_validation_models.md").read_text().replace("\u2212", "-")
    assert f"{float(last_loss):.4f}" in models
