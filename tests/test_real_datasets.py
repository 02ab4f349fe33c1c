"""The paper's three datasets as they are: counts, split and values, as published descriptions of them say.

They are skipped where the data are not there: no licence allows shipping them.
"""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from conftest import NnunetFolders
from pictures import read_all

from nnunet_pyconv.dataset_conversion.conversion import convert
from nnunet_pyconv.dataset_conversion.registry import load_converter
from nnunet_pyconv.dataset_conversion.splits import set_aside

SOURCES = {"isbi_cell": "isbi2012", "kaggle_lung": "kaggle_lung", "liver": "liver"}


def source_of(name: str, real_data: Path) -> Path:
    source = real_data / SOURCES[name]
    if not source.is_dir():
        pytest.skip(f"the real data of {name} are not here: no {source}")
    return source


@pytest.mark.parametrize(
    ("name", "train", "test", "unlabelled", "dtype", "least", "greatest", "foreground"),
    [
        ("isbi_cell", 24, 6, 30, np.uint8, (0, 60), (195, 255), (0.70, 0.85)),
        ("kaggle_lung", 213, 54, 0, np.int16, (-2619, -900), (660, 5556), (0.07, 0.58)),
        ("liver", 400, 20, 0, np.uint8, (0, 60), (195, 255), (0.02, 0.17)),
    ],
)
def test_counts_and_values(
    name: str,
    train: int,
    test: int,
    unlabelled: int,
    dtype: type,
    least: tuple[int, int],
    greatest: tuple[int, int],
    foreground: tuple[float, float],
    real_data: Path,
) -> None:
    found = load_converter(name).find_cases(source_of(name, real_data))
    parts = set_aside(found.labelled) if found.test is None else (found.labelled, found.test)
    assert [len(part) for part in parts] == [train, test]
    assert len(found.unlabelled) == unlabelled
    for case in list(found.labelled)[::20]:
        data = case.read()
        (image,) = data.images
        assert (image.shape, image.dtype) == ((512, 512), dtype)
        assert least[0] <= image.min() <= least[1]
        assert greatest[0] <= image.max() <= greatest[1]
        assert data.label is not None
        assert foreground[0] < data.label.mean() < foreground[1]


@pytest.mark.slow
@pytest.mark.parametrize(("protocol", "train"), [("clean", 24), ("paper", 30)])
def test_whole_conversion(
    protocol: str, train: int, real_data: Path, nnunet_folders: NnunetFolders, capsys: pytest.CaptureFixture[str]
) -> None:
    isbi_cell = load_converter("isbi_cell")
    folder = convert(isbi_cell, source_of("isbi_cell", real_data), protocol=protocol, num_processes=2)  # type: ignore[arg-type]
    labels = read_all(folder / "labelsTr")
    assert (len(labels), len(read_all(folder / "imagesTs")), len(read_all(folder / "imagesChallenge"))) == (
        train,
        6,
        30,
    )
    assert 0.75 < np.mean([label.mean() for label in labels.values()]) < 0.8  # cell interiors, not membranes
    assert "warning" not in capsys.readouterr().err
    if protocol == "paper":
        (fold,) = json.loads((folder / "splits_final.json").read_text())
        assert (len(fold["train"]), len(fold["val"])) == (24, 6)


def test_eight_bit_copies_are_warned_of(
    real_data: Path, nnunet_folders: NnunetFolders, capsys: pytest.CaptureFixture[str]
) -> None:
    sample = real_data / "kaggle_lung_sample"
    if not sample.is_dir():
        pytest.skip(f"the real 8-bit lung slices are not here: no {sample}")
    folder = convert(load_converter("kaggle_lung"), sample, protocol="paper", num_processes=2)
    images = read_all(folder / "imagesTr")
    assert {(image.shape, image.dtype) for image in images.values()} == {((512, 512), np.dtype(np.uint8))}
    assert "(6 in all): pixels of 8 bits" in capsys.readouterr().err
