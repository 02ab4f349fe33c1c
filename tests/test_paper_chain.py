"""The paper's networks through nnU-Net's own console commands, by nnU-Net's recipe, and what its own recipe writes.

All but MultiResUNet by the paper's recipe are in `test_reproduce.py`.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import NnunetFolders
from console_commands import run
from pictures import read_pngs

from nnunet_pyconv.dataset_conversion import isbi_cell
from nnunet_pyconv.dataset_conversion.conversion import convert
from nnunet_pyconv.demo.overlap import read_overlaps
from nnunet_pyconv.paper import NETWORKS
from nnunet_pyconv.synthetic.isbi import write_synthetic_isbi
from nnunet_pyconv.trainer_dir import TRAINER_DIR

pytestmark = pytest.mark.slow

DATASET = "Dataset312_ISBICell"
PLANS = "PyConvUNetPaperPlans"
SHORT_TRAINERS = """
import os

from nnunet_pyconv.trainers import nnUNetTrainerPyConv, nnUNetTrainerPyConvPaper
from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer


class PaperShort(nnUNetTrainerPyConvPaper):
    def __init__(self, plans, configuration, fold, dataset_json, device):
        super().__init__(plans, configuration, fold, dataset_json, device)
        self.num_epochs = int(os.environ.get("EPOCHS", 2))


class OneStep:
    def __init__(self, plans, configuration, fold, dataset_json, device):
        super().__init__(plans, configuration, fold, dataset_json, device)
        self.num_epochs = self.num_iterations_per_epoch = self.num_val_iterations_per_epoch = 1


class StockShort(OneStep, nnUNetTrainer):
    pass


class PyConvShort(OneStep, nnUNetTrainerPyConv):
    pass
"""


@pytest.fixture(scope="module")
def folders(module_folders: NnunetFolders, tmp_path_factory: pytest.TempPathFactory) -> Iterator[NnunetFolders]:
    """Preprocessed data of 10 cases, and the paper's plans."""
    source = tmp_path_factory.mktemp("source")
    write_synthetic_isbi(source, labelled=10, unlabelled=1, size_px=50)
    convert(isbi_cell, source)
    run("nnUNetv2_plan_and_preprocess", "-d", "312", "-c", "2d", "-np", "2")
    run("nnunet_pyconv", "plan", "-d", "312", "--paper")
    trainers = tmp_path_factory.mktemp("trainers")
    (trainers / "short_trainers.py").write_text(SHORT_TRAINERS)
    with pytest.MonkeyPatch.context() as monkeypatch:
        monkeypatch.setenv("nnUNet_extTrainer", os.pathsep.join([str(TRAINER_DIR), str(trainers)]))
        yield module_folders


def train(
    folders: NnunetFolders, configuration: str, trainer: str, *flags: str, fold: str = "0", **environment: str
) -> Path:
    """Train; return the folder of the fold."""
    arguments = ("312", configuration, fold, "-tr", trainer, "-p", PLANS, "-device", "cpu", *flags)
    run("nnUNetv2_train", *arguments, **environment)  # type: ignore[arg-type]
    return folders.results / DATASET / f"{trainer}__{PLANS}__{configuration}" / f"fold_{fold}"


# without and with deep supervision, the one that test_reproduce.py leaves out, and on all training cases
@pytest.mark.long
@pytest.mark.parametrize(
    ("configuration", "number", "validated"),
    [
        ("2d_unet", "0", 2),
        ("2d_unet_plus_plus", "0", 2),
        ("2d_multires_unet", "0", 2),
        ("2d_attention_unet", "all", 8),
    ],
)
def test_the_papers_recipe(configuration: str, number: str, validated: int, folders: NnunetFolders) -> None:
    fold = train(folders, configuration, "PaperShort", fold=number, nnUNet_n_proc_DA="2")
    assert len(read_overlaps(fold / "validation" / "summary.json", ".png")) == validated
    checkpoint = torch.load(fold / "checkpoint_final.pth", weights_only=False)
    assert checkpoint["inference_allowed_mirroring_axes"] is None
    assert checkpoint["logging"]["lrs"] == [1e-3, 1e-3]
    assert len(checkpoint["logging"]["train_losses"]) == 2
    log = next(fold.glob("training_log*.txt")).read_text()
    assert "Validating the best epoch" in log


@pytest.mark.long
@pytest.mark.parametrize("trainer", ["StockShort", "PyConvShort"])
@pytest.mark.parametrize("configuration", [network.configuration for network in NETWORKS])
def test_nnunets_recipe(configuration: str, trainer: str, folders: NnunetFolders) -> None:
    fold = train(folders, configuration, trainer)
    assert len(read_overlaps(fold / "validation" / "summary.json", ".png")) == 2


def test_validates_predicts_and_goes_on_with_the_best_epoch(folders: NnunetFolders, tmp_path: Path) -> None:
    fold = train(folders, "2d_unet", "PaperShort", EPOCHS="3")
    summary = fold / "validation" / "summary.json"
    before = summary.read_text()
    validation = read_pngs(fold / "validation")
    summary.unlink()
    train(folders, "2d_unet", "PaperShort", "--val", EPOCHS="3")
    assert summary.read_text() == before
    images = tmp_path / "images"
    images.mkdir()
    for name in validation:
        case = name.removesuffix(".png")
        image = folders.raw / DATASET / "imagesTr" / f"{case}_0000.png"
        (images / image.name).write_bytes(image.read_bytes())
    run(
        "nnUNetv2_predict", "-d", "312", "-i", str(images), "-o", str(tmp_path / "out"), "-c", "2d_unet", "-f", "0",
        "-tr", "PaperShort", "-p", PLANS, "-device", "cpu", "-npp", "0", "-nps", "0", "-chk", "checkpoint_best.pth",
    )  # fmt: skip
    for name, prediction in read_pngs(tmp_path / "out").items():
        np.testing.assert_array_equal(prediction, validation[name])
    logs = set(fold.glob("training_log*.txt"))
    train(folders, "2d_unet", "PaperShort", "--c", EPOCHS="4")
    (new,) = set(fold.glob("training_log*.txt")) - logs
    epochs = [line.split()[-1] for line in new.read_text().splitlines() if " Epoch " in line and "time" not in line]
    assert epochs == ["3"]
