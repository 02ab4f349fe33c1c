"""Whole runs through nnU-Net's own commands, on small made data with a short training."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import skimage.io as io
import tifffile
from conftest import NnunetFolders
from waiting import wait_until

from nnunet_pyconv.dataset_conversion import isbi_cell, kaggle_lung, liver
from nnunet_pyconv.dataset_conversion.conversion import convert
from nnunet_pyconv.demo.overlap import read_overlaps
from nnunet_pyconv.paper import NETWORKS
from nnunet_pyconv.synthetic.isbi import write_synthetic_isbi

pytestmark = [pytest.mark.slow, pytest.mark.skipif(os.name != "posix", reason="signals")]

PAPER_NETWORKS = [network.key for network in NETWORKS if network.table_2]
TRAINER = "nnUNetTrainerPyConvPaperShort"
SHORT_TRAINER = f"""
import os

from nnunet_pyconv.trainers import nnUNetTrainerPyConvPaper


class {TRAINER}(nnUNetTrainerPyConvPaper):
    def __init__(self, plans, configuration, fold, dataset_json, device):
        super().__init__(plans, configuration, fold, dataset_json, device)
        self.num_epochs = int(os.environ["EPOCHS"])
        self.save_every = 1
"""
SIZE_PX = 32


@pytest.fixture
def environment(monkeypatch: pytest.MonkeyPatch, nnunet_folders: NnunetFolders, tmp_path: Path) -> dict[str, str]:
    monkeypatch.chdir(tmp_path)  # for the reports
    (tmp_path / "trainers").mkdir()
    (tmp_path / "trainers" / "short.py").write_text(SHORT_TRAINER)
    workers = {"nnUNet_def_n_proc": "1", "nnUNet_n_proc_DA": "1", "nnUNet_npp": "0", "nnUNet_nps": "0"}
    return {**os.environ, **workers, "nnUNet_extTrainer": str(tmp_path / "trainers"), "EPOCHS": "1"}


def start(environment: dict[str, str], *arguments: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "nnunet_pyconv", "reproduce", "-tr", TRAINER, "-device", "cpu", "-np", "1"]
    return subprocess.Popen(
        [*command, *arguments],
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def run(environment: dict[str, str], *arguments: str) -> str:
    process = start(environment, *arguments)
    output, _ = process.communicate()
    logs = "".join(Path(log).read_text()[-3000:] for log in set(re.findall(r"log: ([^\s)]+)", output)))
    assert process.returncode == 0, output + logs
    return output


def convert_isbi(tmp_path: Path, labelled: int = 7) -> Path:
    write_synthetic_isbi(tmp_path / "isbi", labelled=labelled, unlabelled=1, size_px=SIZE_PX)
    return convert(isbi_cell, tmp_path / "isbi", protocol="paper", num_processes=1)


def discs() -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Seven slices with a disc in Hounsfield units of the lung, in tissue, and their masks."""
    rng = np.random.default_rng(0)
    y, x = np.mgrid[:SIZE_PX, :SIZE_PX]
    for _ in range(7):
        centre = rng.uniform(10, 22, 2)
        mask = (y - centre[0]) ** 2 + (x - centre[1]) ** 2 < 64
        image = np.where(mask, -850, 40) + rng.normal(0, 30, mask.shape)
        yield image.astype(np.int16), mask.astype(np.uint8) * 255


def convert_lung(tmp_path: Path) -> Path:
    for number, slice_ in enumerate(discs()):
        for folder, pixels in zip(("2d_images", "2d_masks"), slice_, strict=True):
            (tmp_path / "lung" / folder).mkdir(parents=True, exist_ok=True)
            tifffile.imwrite(tmp_path / "lung" / folder / f"ID_{number:04d}_Z_0100.tif", pixels)
    return convert(kaggle_lung, tmp_path / "lung", protocol="paper", num_processes=1)


def convert_liver(tmp_path: Path) -> Path:
    """The discs windowed to 8 bits."""
    for number, (image, mask) in enumerate(discs()):
        folder, index = ("val", number - 5) if number > 4 else ("train", number)
        grey = np.clip((image + 1000) / 8, 0, 255).astype(np.uint8)
        (tmp_path / "liver" / folder).mkdir(parents=True, exist_ok=True)
        for ending, pixels in (("", np.repeat(grey[..., None], 3, axis=-1)), ("_mask", mask)):
            io.imsave(tmp_path / "liver" / folder / f"{index:03d}{ending}.png", pixels, check_contrast=False)
    return convert(liver, tmp_path / "liver", protocol="paper", num_processes=1)


def epochs_trained(fold: Path) -> list[list[int]]:
    """The epochs that each training log tells of, in the order of the logs."""
    logs = sorted(fold.glob("training_log*.txt"))
    return [[int(number) for number in re.findall(r": Epoch (\d+)", log.read_text())] for log in logs]


def test_killed_run_continues_from_the_checkpoint(
    environment: dict[str, str], nnunet_folders: NnunetFolders, tmp_path: Path
) -> None:
    dataset = convert_isbi(tmp_path).name
    arguments = ["--datasets", "isbi_cell", "--networks", "unet", "--seed", "1"]
    fold = nnunet_folders.results / dataset / f"{TRAINER}__PyConvUNetPaperPlans__2d_unet" / "fold_0"
    environment["EPOCHS"] = "1000"
    process = start(environment, *arguments)
    trained = partial(epochs_trained, fold)
    wait_until(lambda: process.poll() is not None or any(len(epochs) > 3 for epochs in trained()), timeout_s=900)
    assert process.poll() is None, process.communicate()[0]
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=60)
    assert process.returncode == 128 + signal.SIGTERM
    (killed,) = epochs_trained(fold)
    assert not (fold / "checkpoint_final.pth").exists()

    environment["EPOCHS"] = str(len(killed) + 2)
    output = run(environment, *arguments)
    assert "unet fold 0: continue training, validate" in output
    first, second = epochs_trained(fold)
    # the checkpoint is that of the last epoch, or of the one before where it was killed while writing
    assert second[0] in (len(killed) - 1, len(killed))
    assert second[-1] == len(killed) + 1
    assert first == killed
    for part, count in (("validation", 2), ("test", 2)):
        assert len(read_overlaps(fold / part / "summary.json", ".png")) == count

    times = {path: path.stat().st_mtime for path in fold.rglob("*")}
    output = run(environment, *arguments)
    assert "1 of 1 runs were done before" in output
    tables = tmp_path / f"report_{dataset[7:10]}_{TRAINER}_fold_0" / "tables"
    assert all((tables / f"{dataset}_{part}_table_2.md").read_text() in output for part in ("validation", "test"))
    assert {path: path.stat().st_mtime for path in fold.rglob("*")} == times


@pytest.mark.long
@pytest.mark.parametrize(
    ("name", "convert", "ending"),
    [("isbi_cell", convert_isbi, ".png"), ("kaggle_lung", convert_lung, ".tif"), ("liver", convert_liver, ".png")],
    ids=["isbi_cell", "kaggle_lung", "liver"],
)
def test_matrix(
    name: str,
    convert: Callable[[Path], Path],
    ending: str,
    environment: dict[str, str],
    nnunet_folders: NnunetFolders,
    tmp_path: Path,
) -> None:
    """All networks on a dataset, and the paper's Table 2 at the end; the datasets one by one, to be done in time."""
    folder = convert(tmp_path)
    output = run(environment, "--datasets", name, "--networks", *PAPER_NETWORKS)
    for network in PAPER_NETWORKS:
        fold = nnunet_folders.results / folder.name / f"{TRAINER}__PyConvUNetPaperPlans__2d_{network}" / "fold_0"
        assert epochs_trained(fold) == [[0]]
        for part in ("validation", "test"):
            assert len(read_overlaps(fold / part / "summary.json", ending)) == 2
    report = tmp_path / f"report_{folder.name[7:10]}_{TRAINER}_fold_0"
    assert (report / "report.html").is_file()
    for kind in ("validation", "test"):
        table = (report / "tables" / f"{folder.name}_{kind}_table_2.md").read_text()
        assert table in output
        assert "paper's MIoU" in table
        assert len(re.findall(r"^\| .*\| 2 \|$", table, re.MULTILINE)) == len(PAPER_NETWORKS)
    left = run(environment, "--datasets", name, "--networks", *PAPER_NETWORKS, "--dry_run")
    assert not re.search("^nnUNetv2_", left, re.MULTILINE)
