from __future__ import annotations

import json
import os
import signal
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import skimage.io as io
import tifffile
import torch
from backends import NO_KERNEL
from plans_of_nnunet import DATASET, DATASET_JSON, make_plans

from nnunet_pyconv.sharing import share_model
from nnunet_pyconv.synthetic.isbi import write_synthetic_isbi
from nnunet_pyconv.trainers import nnUNetTrainerPyConv

# Two tests run at a time, so each computes in one thread, and so do the commands that it starts; nnU-Net's, which take
# all cores, don't spin where they wait. They have as few workers as it allows: each worker imports torch anew.
torch.set_num_threads(1)
os.environ |= {
    "OMP_NUM_THREADS": "1",
    "OMP_WAIT_POLICY": "PASSIVE",
    "nnUNet_def_n_proc": "1",
    "nnUNet_n_proc_DA": "1",
}

# A shell has what runs in the background ignore interrupts, and the commands that the tests start would inherit that.
signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_report_header() -> str:
    return f"compiled kernel: {NO_KERNEL or 'ready'}"


@pytest.hookimpl(tryfirst=True)  # before -m chooses
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with the files that have slow tests, so that none of them is left over at the end; long ones are slow."""
    for item in items:
        if item.get_closest_marker("long"):
            item.add_marker("slow")
    items.sort(key=lambda item: item.get_closest_marker("slow") is None)


@dataclass(frozen=True)
class NnunetFolders:
    raw: Path
    preprocessed: Path
    results: Path


@pytest.fixture
def nnunet_folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> NnunetFolders:
    """nnU-Net's three folders, empty, and no trainer folder."""
    return _set_folders(tmp_path, monkeypatch)


@pytest.fixture(scope="module")
def module_folders(tmp_path_factory: pytest.TempPathFactory) -> Iterator[NnunetFolders]:
    """The same for all tests of a module."""
    with pytest.MonkeyPatch.context() as monkeypatch:
        yield _set_folders(tmp_path_factory.mktemp("nnunet"), monkeypatch)


def _set_folders(base: Path, monkeypatch: pytest.MonkeyPatch) -> NnunetFolders:
    folders = NnunetFolders(base / "nnUNet_raw", base / "nnUNet_preprocessed", base / "nnUNet_results")
    for name in ("raw", "preprocessed", "results"):
        folder: Path = getattr(folders, name)
        folder.mkdir()
        monkeypatch.setenv(f"nnUNet_{name}", str(folder))
    monkeypatch.delenv("nnUNet_extTrainer", raising=False)
    return folders


@pytest.fixture(scope="module")
def model(module_folders: NnunetFolders) -> Path:
    """The folder of a trained model of nnUNetTrainerPyConv."""
    from packages import make_model  # which imports this module

    return make_model(module_folders, nnUNetTrainerPyConv)


@pytest.fixture(scope="module")
def package(model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What `nnunet_pyconv share` makes of it."""
    return share_model(model, tmp_path_factory.mktemp("shared") / "model.zip").file


@pytest.fixture
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The nnUNet_results of whoever installs, who has neither data nor preprocessed data."""
    results = tmp_path / "elsewhere"
    results.mkdir()
    monkeypatch.setenv("nnUNet_results", str(results))
    for name in ("nnUNet_raw", "nnUNet_preprocessed", "nnUNet_extTrainer"):
        monkeypatch.delenv(name, raising=False)
    return results


@pytest.fixture
def preprocessed(nnunet_folders: NnunetFolders) -> Path:
    """The preprocessed folder of a dataset that nnU-Net has planned."""
    folder = nnunet_folders.preprocessed / DATASET
    folder.mkdir()
    (folder / "dataset.json").write_text(json.dumps(DATASET_JSON))
    (folder / "nnUNetPlans.json").write_text(json.dumps(make_plans()))
    return folder


@pytest.fixture
def source(preprocessed: Path) -> dict[str, Any]:
    """The dataset's plans, with the median image size that nnU-Net's planner writes."""
    plans = make_plans()
    plans["configurations"]["2d"]["median_image_size_in_voxels"] = [48.0, 40.0]
    (preprocessed / "nnUNetPlans.json").write_text(json.dumps(plans))
    return plans


@pytest.fixture
def isbi_tiffs(tmp_path: Path) -> Path:
    """ISBI 2012 as three multi-page TIFFs: 10 labelled pages of 32 x 32, 2 unlabelled."""
    source = tmp_path / "isbi_tiffs"
    write_synthetic_isbi(source, labelled=10, unlabelled=2, size_px=32)
    return source


@pytest.fixture
def isbi_pngs(isbi_tiffs: Path, tmp_path: Path) -> Path:
    """The same slices as PNGs with numbers that are not padded."""
    source = tmp_path / "isbi_pngs"
    for volume, folder in (
        ("train-volume.tif", "train/image"),
        ("train-labels.tif", "train/label"),
        ("test-volume.tif", "test/image"),
    ):
        (source / folder).mkdir(parents=True)
        for number, page in enumerate(tifffile.imread(isbi_tiffs / volume)):
            io.imsave(source / folder / f"{number}.png", page, check_contrast=False)
    return source


@pytest.fixture(scope="session")
def real_data() -> Path:
    """The folder of real data: NNUNET_PYCONV_DATA, or shared/data beside this checkout."""
    if given := os.environ.get("NNUNET_PYCONV_DATA"):
        assert (Path(given) / "isbi2012").is_dir(), f"NNUNET_PYCONV_DATA={given} holds no isbi2012"
        return Path(given)
    folder = Path(__file__).resolve().parents[2] / "shared" / "data"
    if not (folder / "isbi2012").is_dir():
        pytest.skip("the real ISBI 2012 data are not here; set NNUNET_PYCONV_DATA to the folder that holds isbi2012")
    return folder
