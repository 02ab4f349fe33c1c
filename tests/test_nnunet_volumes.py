"""nnU-Net's own commands on small volumes: every configuration, plain and residual, from planning to evaluation."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import psutil
import pytest
import SimpleITK as sitk  # noqa: N813  # its own habit
import torch
from conftest import NnunetFolders
from console_commands import run
from waiting import wait_until

from nnunet_pyconv.synthetic.volumes import write_synthetic_volumes
from nnunet_pyconv.trainer_dir import TRAINER_DIR

pytestmark = pytest.mark.slow

DATASET = "Dataset021_Blobs"
PYCONV, STOCK = "nnUNetTrainerPyConvTiny", "nnUNetTrainerTiny"
PLANNERS = {"plain": "nnUNetPlannerPyConv", "residual": "nnUNetPlannerPyConvResEncM"}
# what a plain network proves is repeated with a residual one
EACH_NETWORK = pytest.mark.parametrize(
    "network", ["plain", pytest.param("residual", marks=pytest.mark.long)], indirect=True
)
PLAIN = pytest.mark.parametrize("network", ["plain"], indirect=True)
SHAPE = (28, 56, 48)  # a patch of three stages, the least that train, is a small part of it
WIDTH, TARGET_GB = "0.25", {"plain": "0.005", "residual": "0.008"}

# Trainings of two epochs with two iterations each; the environment can make them longer. Inference mirrors one axis.
TINY_TRAINERS = f"""
import os

from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer

from nnunet_pyconv.trainers import nnUNetTrainerPyConv


class {STOCK}(nnUNetTrainer):
    def __init__(self, plans, configuration, fold, dataset_json, device):
        super().__init__(plans, configuration, fold, dataset_json, device)
        self.num_epochs = int(os.environ.get("EPOCHS", 2))
        self.num_iterations_per_epoch = 2
        self.num_val_iterations_per_epoch = 1
        self.save_every = 1

    def configure_rotation_dummyDA_mirroring_and_inital_patch_size(self):
        result = super().configure_rotation_dummyDA_mirroring_and_inital_patch_size()
        self.inference_allowed_mirroring_axes = (0,)  # twice the time instead of eight times
        return result


class {PYCONV}(nnUNetTrainerPyConv, {STOCK}):
    pass
"""


@pytest.fixture(scope="module")
def folders(module_folders: NnunetFolders, tmp_path_factory: pytest.TempPathFactory) -> Iterator[NnunetFolders]:
    """Volumes with their fingerprint; the tiny trainers can be found."""
    trainers = tmp_path_factory.mktemp("trainers")
    (trainers / "tiny_trainers.py").write_text(TINY_TRAINERS)
    write_synthetic_volumes(module_folders.raw, DATASET, shape=SHAPE)
    run("nnUNetv2_extract_fingerprint", "-d", "21", "-np", "1", "--verify_dataset_integrity")
    with pytest.MonkeyPatch.context() as monkeypatch:
        monkeypatch.setenv("nnUNet_extTrainer", os.pathsep.join([str(TRAINER_DIR), str(trainers)]))
        yield module_folders


@pytest.fixture
def network(request: pytest.FixtureRequest, folders: NnunetFolders) -> str:
    """Plan for a network and little memory, and preprocess, when it is asked for first."""
    plans = f"{PLANNERS[request.param]}Plans"
    if not (folders.preprocessed / DATASET / f"{plans}.json").exists():
        plan("21", request.param, plans)
        run("nnUNetv2_preprocess", "-d", "21", "-plans_name", plans, "-np", "1")
    return request.param


def plan(dataset: str, network: str, plans: str) -> None:
    target = ("-gpu_memory_target", TARGET_GB[network], "-width", WIDTH)
    run("nnunet_pyconv", "plan", "-d", dataset, "-pl", PLANNERS[network], *target, "-o", plans)


def read(file: Path) -> np.ndarray:
    return sitk.GetArrayFromImage(sitk.ReadImage(str(file)))


def train(configuration: str, fold: str, *arguments: str, trainer: str = PYCONV, network: str = "plain") -> None:
    plans = f"{PLANNERS[network]}Plans"
    run("nnUNetv2_train", "21", configuration, fold, "-tr", trainer, "-p", plans, "-device", "cpu", *arguments)


def model_folder(folders: NnunetFolders, configuration: str, trainer: str = PYCONV, network: str = "plain") -> Path:
    return folders.results / DATASET / f"{trainer}__{PLANNERS[network]}Plans__{configuration}"


def predict(folders: NnunetFolders, output: Path, configuration: str, fold: str, network: str, *arguments: str) -> None:
    run(
        "nnUNetv2_predict", "-d", "21", "-i", str(folders.raw / DATASET / "imagesTs"), "-o", str(output),
        "-c", configuration, "-f", fold, "-tr", PYCONV, "-p", f"{PLANNERS[network]}Plans", "-device", "cpu",
        "-npp", "0", "-nps", "0", *arguments,
    )  # fmt: skip


def check(folders: NnunetFolders, predictions: Path) -> None:
    """Evaluate with nnU-Net's command; all cases are there."""
    run(
        "nnUNetv2_evaluate_folder", str(folders.raw / DATASET / "labelsTs"), str(predictions),
        "-djfile", str(predictions / "dataset.json"), "-pfile", str(predictions / "plans.json"), "-np", "1",
    )  # fmt: skip
    summary = json.loads((predictions / "summary.json").read_text())
    assert len(summary["metric_per_case"]) == 2
    assert set(summary["mean"]) == {"1", "2"}


@EACH_NETWORK
def test_plans_have_all_configurations(network: str, folders: NnunetFolders) -> None:
    plans = json.loads((folders.preprocessed / DATASET / f"{PLANNERS[network]}Plans.json").read_text())
    assert set(plans["configurations"]) == {"2d", "3d_lowres", "3d_fullres", "3d_cascade_fullres"}
    assert [1, 3, 3] in plans["configurations"]["3d_fullres"]["architecture"]["arch_kwargs"]["kernel_sizes"]


@EACH_NETWORK
@pytest.mark.parametrize("configuration", [pytest.param("2d", marks=pytest.mark.long), "3d_fullres"])
def test_trains_predicts_evaluates(network: str, configuration: str, folders: NnunetFolders, tmp_path: Path) -> None:
    train(configuration, "0", "--npz", network=network)
    fold = model_folder(folders, configuration, network=network) / "fold_0"
    assert (fold / "checkpoint_final.pth").is_file()
    assert (fold / "validation" / "summary.json").is_file()
    predict(folders, tmp_path / "out", configuration, "0", network, "--disable_tta")
    check(folders, tmp_path / "out")


@pytest.mark.long
@EACH_NETWORK
def test_cascade(network: str, folders: NnunetFolders, tmp_path: Path) -> None:
    train("3d_lowres", "all", network=network)  # all: the next stage needs predictions of all cases
    train("3d_cascade_fullres", "0", network=network)
    predict(folders, tmp_path / "lowres", "3d_lowres", "all", network, "--disable_tta")
    predict(
        folders, tmp_path / "out", "3d_cascade_fullres", "0", network,
        "-prev_stage_predictions", str(tmp_path / "lowres"), "--disable_tta",
    )  # fmt: skip
    check(folders, tmp_path / "out")


@pytest.mark.long
def test_ensemble_best_configuration_and_postprocessing(folders: NnunetFolders, tmp_path: Path) -> None:
    """Across our trainer and the stock one, on the models of the tests before."""
    train("2d", "0", "--npz", trainer=STOCK)
    plans = f"{PLANNERS['plain']}Plans"
    run(
        "nnUNetv2_find_best_configuration", "21", "-p", plans, "-c", "2d", "-tr", PYCONV, STOCK,
        "-f", "0", "-np", "1",
    )  # fmt: skip
    found = json.loads((folders.results / DATASET / "inference_information.json").read_text())
    assert any(PYCONV in name and STOCK in name for name in found["all_results"])
    best = found["best_model_or_ensemble"]

    for configuration in ("2d", "3d_fullres"):
        predict(folders, tmp_path / configuration, configuration, "0", "plain", "--save_probabilities", "--disable_tta")
    run(
        "nnUNetv2_ensemble", "-i", str(tmp_path / "2d"), str(tmp_path / "3d_fullres"), "-o", str(tmp_path / "both"),
        "-np", "1",
    )  # fmt: skip
    run(
        "nnUNetv2_apply_postprocessing", "-i", str(tmp_path / "both"), "-o", str(tmp_path / "after"),
        "-pp_pkl_file", best["postprocessing_file"], "-plans_json", best["some_plans_file"],
        "-dataset_json", str(tmp_path / "2d" / "dataset.json"), "-np", "1",
    )  # fmt: skip
    assert len(list((tmp_path / "after").glob("*.nii.gz"))) == 2


@pytest.mark.long
def test_validates_with_the_best_checkpoint(folders: NnunetFolders) -> None:
    summary = model_folder(folders, "2d") / "fold_0" / "validation" / "summary.json"
    summary.unlink()
    train("2d", "0", "--val", "--val_best")
    assert summary.is_file()


@PLAIN
def test_goes_on_after_a_kill(network: str, folders: NnunetFolders) -> None:
    """SIGKILL at some moment after the first checkpoint: the workers end as well, and --c goes on from it."""
    plans = f"{PLANNERS[network]}Plans"
    fold = model_folder(folders, "3d_lowres", network=network) / "fold_0"
    command = [
        str(Path(sys.executable).with_name("nnUNetv2_train")), "21", "3d_lowres", "0", "-tr", PYCONV, "-p", plans,
        "-device", "cpu",
    ]  # fmt: skip
    env = {**os.environ, "nnUNet_n_proc_DA": "1", "EPOCHS": "1000"}
    with subprocess.Popen(command, env=env, stdout=subprocess.DEVNULL, start_new_session=True) as process:
        try:
            wait_until(lambda: process.poll() is not None or (fold / "checkpoint_latest.pth").is_file())
            assert process.poll() is None
            workers = psutil.Process(process.pid).children(recursive=True)
            process.kill()
            assert len(workers) > 1
            assert not psutil.wait_procs(workers, timeout=10)[1]
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
    epoch = torch.load(fold / "checkpoint_latest.pth", weights_only=False)["current_epoch"]
    assert epoch >= 1
    before = set(fold.glob("training_log*.txt"))
    time.sleep(1)  # the logs are named by the second
    run(*("nnUNetv2_train", *command[1:]), "--c", EPOCHS=str(epoch + 1))
    (log,) = set(fold.glob("training_log*.txt")) - before
    epochs = [line.split()[-1] for line in log.read_text().splitlines() if " Epoch " in line and "time" not in line]
    assert epochs == [str(epoch)]
    assert (fold / "checkpoint_final.pth").is_file()


@pytest.mark.long
@PLAIN
def test_nothing_is_written_without_checkpointing(network: str, folders: NnunetFolders) -> None:
    train("3d_lowres", "1", "--disable_checkpointing", network=network)
    assert not list((model_folder(folders, "3d_lowres", network=network) / "fold_1").glob("*.pth"))


@pytest.mark.long
def test_predicts_arrays_with_and_without_mirroring(folders: NnunetFolders, tmp_path: Path) -> None:
    """nnUNetPredictor on an array gives what the command gives on its file."""
    from nnunetv2.imageio.simpleitk_reader_writer import SimpleITKIO
    from nnunetv2.inference.predict_from_raw_data import nnUNetPredictor

    image = folders.raw / DATASET / "imagesTs" / "case_05_0000.nii.gz"
    array, properties = SimpleITKIO().read_images([str(image)])
    for mirroring, flags in ((True, ()), (False, ("--disable_tta",))):
        predictor = nnUNetPredictor(use_mirroring=mirroring, device=torch.device("cpu"), allow_tqdm=False)
        predictor.initialize_from_trained_model_folder(str(model_folder(folders, "3d_fullres")), (0,))
        segmentation = predictor.predict_single_npy_array(array, properties, None, None, False)
        output = tmp_path / f"mirroring_{mirroring}"
        predict(folders, output, "3d_fullres", "0", "plain", *flags)
        np.testing.assert_array_equal(segmentation, read(output / "case_05.nii.gz"))


@pytest.mark.long
def test_regions_and_ignore_label_with_two_channels(folders: NnunetFolders, tmp_path: Path) -> None:
    labels = {"background": 0, "both": [1, 2], "right": 2, "ignore": 3}
    raw = write_synthetic_volumes(
        folders.raw, "Dataset022_Regions", labels=labels, train=5, test=1, channels=2, regions_class_order=[1, 2]
    )
    run("nnUNetv2_extract_fingerprint", "-d", "22", "-np", "1")
    plan("22", "plain", "Tiny")
    run("nnUNetv2_preprocess", "-d", "22", "-plans_name", "Tiny", "-np", "1", "-c", "3d_fullres")
    common = ("-p", "Tiny", "-tr", PYCONV, "-device", "cpu")
    run("nnUNetv2_train", "22", "3d_fullres", "0", *common)
    run(
        "nnUNetv2_predict", "-d", "22", "-i", str(raw / "imagesTs"), "-o", str(tmp_path / "out"), "-c", "3d_fullres",
        "-f", "0", *common, "-npp", "0", "-nps", "0",
    )  # fmt: skip
    assert set(np.unique(read(tmp_path / "out" / "case_05.nii.gz"))) <= {0, 1, 2}
    summary = folders.results / "Dataset022_Regions" / f"{PYCONV}__Tiny__3d_fullres" / "fold_0/validation/summary.json"
    assert set(json.loads(summary.read_text())["mean"]) == {"(1, 2)", "2"}
