from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import skimage.io as io
import tifffile

from nnunet_pyconv.cli import main
from nnunet_pyconv.demo.folder import DemoFolder
from nnunet_pyconv.demo.overlap import mean_overlap, read_overlaps
from nnunet_pyconv.synthetic.isbi import write_synthetic_isbi
from nnunet_pyconv.synthetic.workspace import Workspace


def test_synthetic_data_have_the_files_of_isbi(tmp_path: Path) -> None:
    write_synthetic_isbi(tmp_path, labelled=3, unlabelled=3, size_px=64)
    volume, labels, test = (
        tifffile.imread(tmp_path / f"{name}.tif") for name in ("train-volume", "train-labels", "test-volume")
    )
    assert (volume.shape, labels.shape, test.shape) == ((3, 64, 64), (3, 64, 64), (3, 64, 64))
    assert (volume.dtype, labels.dtype) == (np.uint8, np.uint8)
    assert set(np.unique(labels)) == {0, 255}
    assert 0.6 < (labels > 0).mean() < 0.85
    assert volume[labels > 0].mean() > volume[labels == 0].mean() + 30  # membranes are dark


def test_workspace_sets_the_environment_and_puts_it_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("nnUNet_raw", "/mine")
    monkeypatch.delenv("nnUNet_results", raising=False)
    with Workspace(tmp_path).environment():
        assert os.environ["nnUNet_raw"] == str(tmp_path / "nnUNet_raw")
    assert os.environ["nnUNet_raw"] == "/mine"
    assert "nnUNet_results" not in os.environ


def demo_fails(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    with pytest.raises(SystemExit) as exit_:
        main(["demo", "-device", "cpu", *arguments])
    assert exit_.value.code == 2
    return capsys.readouterr().err


def test_earlier_demo_is_kept_without_overwrite(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    workspace = DemoFolder(tmp_path / "demo")
    workspace.prepare(overwrite=False)
    workspace.picture.touch()
    (workspace.folder / "mine.txt").touch()
    assert "holds an earlier run" in demo_fails(capsys, "-o", str(workspace.folder))
    assert workspace.raw.is_dir()
    workspace.clear()
    assert [path.name for path in workspace.folder.iterdir()] == ["mine.txt"]


@pytest.mark.parametrize("flags", [[], ["--overwrite"]], ids=["plain", "overwrite"])
def test_users_own_folders_are_left_alone(flags: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "nnUNet_raw" / "Dataset001_Mine").mkdir(parents=True)
    assert "has a nnUNet_raw that no earlier run made" in demo_fails(capsys, "-o", str(tmp_path), *flags)
    assert (tmp_path / "nnUNet_raw" / "Dataset001_Mine").is_dir()


def test_bad_source_leaves_the_earlier_demo(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    workspace = DemoFolder(tmp_path / "demo")
    workspace.prepare(overwrite=False)
    demo_fails(capsys, "-o", str(workspace.folder), "-i", str(tmp_path / "nowhere"), "--overwrite")
    assert workspace.raw.is_dir()


def test_output_that_is_a_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "file").touch()
    assert "can't write into" in demo_fails(capsys, "-o", str(tmp_path / "file"))


def test_source_that_is_not_there(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    err = demo_fails(capsys, "-i", str(tmp_path / "nowhere"), "-o", str(tmp_path / "demo"))
    assert "nowhere does not exist" in err
    assert not (tmp_path / "demo").exists()


@pytest.mark.long
def test_demo(tmp_path: Path) -> None:
    """As a user runs it whose own nnU-Net folders are set and hold a dataset of the same ID."""
    users = tmp_path / "users"
    environment = {name: value for name, value in os.environ.items() if not name.startswith("nnUNet_")}
    for name in ("nnUNet_raw", "nnUNet_preprocessed", "nnUNet_results"):
        (users / name / "Dataset312_Mine").mkdir(parents=True)
        environment[name] = str(users / name)
    before = sorted(users.rglob("*"))
    done = subprocess.run(
        [sys.executable, "-m", "nnunet_pyconv", "demo", "-device", "cpu"],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    workspace = DemoFolder(tmp_path / "nnunet_pyconv_demo")
    assert sorted(users.rglob("*")) == before
    overlaps = read_overlaps(workspace.predictions / "summary.json", ".png")
    assert len(overlaps) == 3
    assert mean_overlap(overlaps).dice > 0.9  # all foreground has about 0.83 there
    for overlap in overlaps:
        assert f"{overlap.case}  {overlap.dice:.4f}  {overlap.iou:.4f}" in done.stdout
    assert io.imread(workspace.picture).shape[0] > 300
    assert 'export nnUNet_extTrainer="$(nnunet_pyconv trainer_dir)"' in done.stdout
    assert "nnUNetv2_train 312 2d 0 -tr nnUNetTrainerPyConv -device cpu" in done.stdout
