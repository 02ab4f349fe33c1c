"""nnU-Net's own console commands on small data, from the raw images to a prediction on another machine."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

import numpy as np
import pytest
import skimage.io as io
import torch
from conftest import NnunetFolders
from console_commands import run
from pictures import read_all, read_pngs

from nnunet_pyconv.dataset_conversion import isbi_cell
from nnunet_pyconv.dataset_conversion.conversion import convert
from nnunet_pyconv.demo.overlap import read_overlaps
from nnunet_pyconv.planning import plan_pyconv
from nnunet_pyconv.synthetic.isbi import write_synthetic_isbi
from nnunet_pyconv.trainer_dir import TRAINER_DIR

pytestmark = pytest.mark.slow

DATASET = "Dataset312_ISBICell"
EPOCHS, ITERATIONS = 2, 4

# Our trainer with a short training; the number of epochs comes from the environment so that a test can go on.
SHORT_TRAINERS = f"""
import os

from nnunet_pyconv.trainers import nnUNetTrainerPyConv


class nnUNetTrainerPyConvShort(nnUNetTrainerPyConv):
    def __init__(self, plans, configuration, fold, dataset_json, device):
        super().__init__(plans, configuration, fold, dataset_json, device)
        self.num_epochs = int(os.environ.get("EPOCHS", {EPOCHS}))
        self.num_iterations_per_epoch = {ITERATIONS}
        self.num_val_iterations_per_epoch = 1
"""
TRAINER = "nnUNetTrainerPyConvShort"
STOCK_TRAINER = """
from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer


class nnUNetTrainerShort(nnUNetTrainer):
    def __init__(self, plans, configuration, fold, dataset_json, device):
        super().__init__(plans, configuration, fold, dataset_json, device)
        self.num_epochs, self.num_iterations_per_epoch, self.num_val_iterations_per_epoch = 1, 60, 1
"""


@pytest.fixture(scope="module")
def folders(module_folders: NnunetFolders, tmp_path_factory: pytest.TempPathFactory) -> NnunetFolders:
    """Converted, planned and preprocessed data."""
    source = tmp_path_factory.mktemp("source")
    write_synthetic_isbi(source, labelled=10, unlabelled=1, size_px=48)
    convert(isbi_cell, source)
    run("nnUNetv2_plan_and_preprocess", "-d", "312", "-c", "2d", "-np", "2", "--verify_dataset_integrity")
    return module_folders


@pytest.fixture(scope="module")
def trainers(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Value of nnUNet_extTrainer: our folder and that of the short trainer."""
    folder = tmp_path_factory.mktemp("trainers")
    (folder / "short_trainers.py").write_text(SHORT_TRAINERS)
    return os.pathsep.join([str(TRAINER_DIR), str(folder)])


@pytest.fixture(scope="module")
def model(folders: NnunetFolders, trainers: str) -> Path:
    """A model trained with default plans, and with nnU-Net's workers."""
    workers = {"nnUNet_n_proc_DA": "2", "nnUNet_def_n_proc": "2"}
    run("nnUNetv2_train", "312", "2d", "0", "-tr", TRAINER, "-device", "cpu", nnUNet_extTrainer=trainers, **workers)
    return folders.results / DATASET / f"{TRAINER}__nnUNetPlans__2d"


def predict(
    folders: NnunetFolders, output: Path, trainers: str, workers: str = "0", **arguments: object
) -> dict[str, np.ndarray]:
    run(
        "nnUNetv2_predict", "-d", "312", "-i", str(folders.raw / DATASET / "imagesTs"), "-o", str(output), "-c", "2d",
        "-f", "0", "-tr", TRAINER, "-device", "cpu", "-npp", workers, "-nps", workers,
        nnUNet_extTrainer=trainers, **arguments,
    )  # fmt: skip
    return read_pngs(output)


def test_trains_and_validates(model: Path) -> None:
    fold = model / "fold_0"
    assert (fold / "checkpoint_final.pth").is_file()
    assert len(read_overlaps(fold / "validation" / "summary.json", ".png")) == 2
    log = next(fold.glob("training_log*.txt")).read_text()
    assert f"Epoch {EPOCHS - 1}" in log


def test_predicts_and_evaluates(model: Path, folders: NnunetFolders, trainers: str, tmp_path: Path) -> None:
    predictions = predict(folders, tmp_path / "predictions", trainers, workers="1")
    assert predictions.keys() == read_all(folders.raw / DATASET / "labelsTs").keys()
    run(
        "nnUNetv2_evaluate_folder", str(folders.raw / DATASET / "labelsTs"), str(tmp_path / "predictions"),
        "-djfile", str(tmp_path / "predictions/dataset.json"), "-pfile", str(tmp_path / "predictions/plans.json"),
    )  # fmt: skip
    for overlap in read_overlaps(tmp_path / "predictions" / "summary.json", ".png"):
        prediction = predictions[f"{overlap.case}.png"] > 0
        truth = read_all(folders.raw / DATASET / "labelsTs")[f"{overlap.case}.png"] > 0
        assert overlap.iou == pytest.approx((prediction & truth).sum() / (prediction | truth).sum())


@pytest.mark.long
def test_validates_again(model: Path, trainers: str) -> None:
    summary = model / "fold_0" / "validation" / "summary.json"
    before = summary.read_text()
    summary.unlink()
    run("nnUNetv2_train", "312", "2d", "0", "-tr", TRAINER, "-device", "cpu", "--val", nnUNet_extTrainer=trainers)
    assert summary.read_text() == before


def test_resumes(model: Path, folders: NnunetFolders, trainers: str) -> None:
    before = set((model / "fold_0").glob("training_log*.txt"))
    shutil.copytree(model, model.parent / "kept")
    try:
        run(
            "nnUNetv2_train", "312", "2d", "0", "-tr", TRAINER, "-device", "cpu", "--c",
            nnUNet_extTrainer=trainers, EPOCHS=str(EPOCHS + 1),
        )  # fmt: skip
        (new,) = set((model / "fold_0").glob("training_log*.txt")) - before
        epochs = [line.split()[-1] for line in new.read_text().splitlines() if " Epoch " in line and "time" not in line]
        assert epochs == [str(EPOCHS)]
    finally:
        shutil.rmtree(model)
        (model.parent / "kept").rename(model)


@pytest.mark.long
def test_exported_model_predicts_elsewhere(model: Path, folders: NnunetFolders, trainers: str, tmp_path: Path) -> None:
    """On a machine without raw and preprocessed data the exported model gives the same prediction."""
    here = predict(folders, tmp_path / "here", trainers)
    archive = tmp_path / "model.zip"
    run(
        "nnUNetv2_export_model_to_zip", "-d", "312", "-o", str(archive), "-c", "2d", "-f", "0", "-tr", TRAINER
    )  # fmt: skip
    elsewhere = {"nnUNet_results": str(tmp_path / "results_elsewhere"), "unset": ("nnUNet_raw", "nnUNet_preprocessed")}
    (tmp_path / "results_elsewhere").mkdir()
    run("nnUNetv2_install_pretrained_model_from_zip", str(archive), **elsewhere)  # type: ignore[arg-type]
    there = predict(folders, tmp_path / "there", trainers, **elsewhere)
    assert here.keys() == there.keys()
    for name, prediction in here.items():
        np.testing.assert_array_equal(prediction, there[name])


@pytest.mark.long
def test_residual_encoder_plans(folders: NnunetFolders, trainers: str) -> None:
    run("nnUNetv2_plan_experiment", "-d", "312", "-pl", "nnUNetPlannerResEncM")
    plans = "nnUNetResEncUNetMPlans"
    run("nnUNetv2_preprocess", "-d", "312", "-plans_name", plans, "-c", "2d", "-np", "2")
    run(
        "nnUNetv2_train",
        "312",
        "2d",
        "0",
        "-p",
        plans,
        "-tr",
        TRAINER,
        "-device",
        "cpu",
        nnUNet_extTrainer=trainers,
        EPOCHS="1",
    )
    assert (folders.results / DATASET / f"{TRAINER}__{plans}__2d" / "fold_0" / "checkpoint_final.pth").is_file()


def test_our_plans_with_nnunets_own_trainer(folders: NnunetFolders, tmp_path: Path) -> None:
    """Without our folder of trainers: all that nnU-Net finds is its own trainer, here with fewer iterations."""
    plan_pyconv(312)
    (tmp_path / "trainers").mkdir()
    (tmp_path / "trainers/stock.py").write_text(STOCK_TRAINER)
    own = ("-tr", "nnUNetTrainerShort", "-p", "nnUNetPyConvPlans")
    found = {"nnUNet_extTrainer": str(tmp_path / "trainers")}
    run("nnUNetv2_train", "312", "2d", "0", *own, "-device", "cpu", **found)  # type: ignore[arg-type]
    output = tmp_path / "predictions"
    run(
        "nnUNetv2_predict", "-d", "312", "-i", str(folders.raw / DATASET / "imagesTs"), "-o", str(output), "-c", "2d",
        "-f", "0", *own, "-device", "cpu", "-npp", "0", "-nps", "0", **found,  # type: ignore[arg-type]
    )  # fmt: skip
    truths = read_all(folders.raw / DATASET / "labelsTs")
    predictions = read_pngs(output)
    agreement = np.mean([(predictions[name] == truth).mean() for name, truth in truths.items()])
    assert agreement > 0.85  # it has learnt: all foreground would have about 0.7


@pytest.mark.long
def test_fine_tunes_on_another_dataset(model: Path, folders: NnunetFolders, trainers: str) -> None:
    """One more class, a smaller patch, and the plans of the first dataset, as nnU-Net's guide to fine-tuning says."""
    raw = shutil.copytree(folders.raw / DATASET, folders.raw / "Dataset313_Halves")
    for file in (raw / "labelsTr").iterdir():
        labels = io.imread(file)
        labels[: len(labels) // 2] *= 2
        io.imsave(file, labels, check_contrast=False)
    dataset = json.loads((raw / "dataset.json").read_text())
    dataset["labels"] = {"background": 0, "lower": 1, "upper": 2}
    (raw / "dataset.json").write_text(json.dumps(dataset))
    run("nnUNetv2_plan_and_preprocess", "-d", "313", "--no_pp", "-npfp", "1")
    run("nnUNetv2_move_plans_between_datasets", "-s", "312", "-t", "313", "-sp", "nnUNetPlans", "-tp", "Moved")
    file = folders.preprocessed / raw.name / "Moved.json"
    plans = json.loads(file.read_text())
    plans["configurations"]["2d"]["patch_size"] = [40, 40]  # maps of 40, 20, 10, 5 for 48, 24, 12, 6: the same kernels
    file.write_text(json.dumps(plans))
    run("nnUNetv2_preprocess", "-d", "313", "-plans_name", "Moved", "-c", "2d", "-np", "1")
    pretrained = model / "fold_0" / "checkpoint_final.pth"
    out = run(
        "nnUNetv2_train", "313", "2d", "0", "-tr", TRAINER, "-p", "Moved", "-device", "cpu",
        "-pretrained_weights", str(pretrained), nnUNet_extTrainer=trainers, EPOCHS="1",
    )  # fmt: skip
    assert "Loading pretrained weights" in out
    final = folders.results / raw.name / f"{TRAINER}__Moved__2d" / "fold_0" / "checkpoint_final.pth"
    before, after = (torch.load(file, weights_only=False)["network_weights"] for file in (pretrained, final))
    differing = {name for name in before | after if before[name].shape != after[name].shape}
    assert {len(after[name]) for name in differing} == {3}
    assert differing == {name for name in before if ".seg_layers." in name}
