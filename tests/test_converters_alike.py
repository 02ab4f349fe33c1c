"""The same input has the same answer in all converters."""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import tifffile
from conftest import NnunetFolders
from numpy.typing import NDArray
from pictures import read_all
from PIL import Image

from nnunet_pyconv.dataset_conversion.conversion import convert
from nnunet_pyconv.dataset_conversion.description import DatasetDescription
from nnunet_pyconv.dataset_conversion.registry import CONVERTERS, load_converter
from nnunet_pyconv.errors import InputError

NUM_CASES = 10
MASK = np.zeros((24, 32), np.uint8)
MASK[4:12, 6:20] = 255

# how each dataset names image and mask of a number
LAYOUTS = {
    "isbi_cell": ("train/image/{}", "train/label/{}"),
    "kaggle_lung": ("2d_images/ID_{:04d}_Z_0100", "2d_masks/ID_{:04d}_Z_0100"),
    "liver": ("train/{:03d}", "train/{:03d}_mask"),
}

Write = Callable[[Path, NDArray[np.uint8]], None]


def image_of(number: int) -> NDArray[np.uint8]:
    return np.random.default_rng(number).integers(0, 255, MASK.shape, dtype=np.uint8)


def save(path: Path, pixels: NDArray[np.generic]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path)


def write_dataset(name: str, source: Path, ending: str = ".png", mask: NDArray[np.generic] = MASK) -> Path:
    """Write a dataset in its layout; the liver has a test set of its own."""
    for number in range(NUM_CASES):
        for pattern, pixels in zip(LAYOUTS[name], (image_of(number), mask), strict=True):
            path = source / (pattern.format(number) + ending)
            save(path, pixels)
            if name == "liver" and number < 2:
                save(source / "val" / path.name, 255 - image_of(number) if pixels is not mask else mask)
    return source


@pytest.fixture(params=sorted(CONVERTERS))
def name(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def labels_of(folder: Path) -> dict[str, NDArray[np.uint8]]:
    return read_all(folder / "labelsTr") | read_all(folder / "labelsTs")


def run(name: str, source: Path, **options: object) -> Path:
    return convert(load_converter(name), source, num_processes=1, **options)  # type: ignore[arg-type]


def test_every_converter_is_data_and_one_function(name: str) -> None:
    converter = load_converter(name)
    assert isinstance(converter.DESCRIPTION, DatasetDescription)
    assert callable(converter.find_cases)
    assert converter.__doc__


@pytest.mark.parametrize("ending", [".png", ".PNG", ".tif", ".TIF", ".tiff", ".bmp"])
def test_endings(ending: str, name: str, tmp_path: Path, nnunet_folders: NnunetFolders) -> None:
    labels = labels_of(run(name, write_dataset(name, tmp_path / "data", ending)))
    assert len(labels) == NUM_CASES + 2 * (name == "liver")
    for label in labels.values():
        np.testing.assert_array_equal(label, MASK // 255)


def folder_around(source: Path) -> Path:
    around = source.parent / "download"
    around.mkdir()
    source.rename(around / "data")
    return around


def macos_companions(source: Path) -> Path:
    source = folder_around(source)
    shutil.copytree(source / "data", source / "__MACOSX")
    for path in list((source / "data").rglob("*.png")):
        (path.parent / f"._{path.name}").write_bytes(b"resource fork")
    return source


@pytest.mark.parametrize("change", [folder_around, macos_companions])
def test_layouts(change: Callable[[Path], Path], name: str, tmp_path: Path, nnunet_folders: NnunetFolders) -> None:
    assert len(labels_of(run(name, change(write_dataset(name, tmp_path / "data"))))) >= NUM_CASES


def fax(path: Path, mask: NDArray[np.uint8]) -> None:
    Image.fromarray(mask > 0).save(path.with_suffix(".tif"), compression="group4")


def white_is_zero(path: Path, mask: NDArray[np.uint8]) -> None:
    tifffile.imwrite(path.with_suffix(".tif"), 255 - mask, photometric="miniswhite")


def grey_and_alpha(path: Path, mask: NDArray[np.uint8]) -> None:
    Image.fromarray(np.stack([mask, np.full_like(mask, 255)], axis=-1)).save(path)


def white_of_16_bits(path: Path, mask: NDArray[np.uint8]) -> None:
    Image.fromarray(mask.astype(np.uint16) * 257).save(path)


def rgb(path: Path, mask: NDArray[np.uint8]) -> None:
    Image.fromarray(np.repeat(mask[..., None], 3, axis=-1)).save(path)


@pytest.mark.parametrize("write", [fax, white_is_zero, grey_and_alpha, white_of_16_bits, rgb])
def test_kinds_of_masks(
    write: Write, name: str, tmp_path: Path, nnunet_folders: NnunetFolders, capsys: pytest.CaptureFixture[str]
) -> None:
    source = write_dataset(name, tmp_path / "data")
    for number in range(NUM_CASES):
        path = source / (LAYOUTS[name][1].format(number) + ".png")
        path.unlink()
        write(path, MASK)
    for label in labels_of(run(name, source)).values():
        np.testing.assert_array_equal(label, MASK // 255)
    warnings = [line for line in capsys.readouterr().err.splitlines() if "warning" in line]
    assert [line for line in warnings if "pixels of 8 bits" not in line] == []  # a CT should have more


@pytest.mark.parametrize(
    ("mask", "warning"),
    [
        (np.zeros_like(MASK), "an empty mask"),
        (np.full_like(MASK, 255), "a mask that covers the whole image"),
        (MASK // 255 * 254, "the values 0 and 254 instead of 0 and 255"),
    ],
    ids=["empty", "full", "254"],
)
def test_odd_masks_are_warned_of(
    mask: NDArray[np.uint8],
    warning: str,
    name: str,
    tmp_path: Path,
    nnunet_folders: NnunetFolders,
    capsys: pytest.CaptureFixture[str],
) -> None:
    run(name, write_dataset(name, tmp_path / "data", mask=mask))
    assert re.search(rf"warning: .*{warning}", capsys.readouterr().err)


@pytest.mark.parametrize(
    ("mask", "message"),
    [
        (MASK // 255 + 7, r"has 2 values \(7, 8\)"),
        (np.maximum(MASK, np.roll(MASK // 2, 1, axis=0)), "antialiasing"),
        (np.stack([MASK, MASK * 0, MASK], axis=-1), "is a colour image"),
        (np.stack([MASK, 255 - MASK], axis=-1), "has transparent pixels"),
    ],
    ids=["7-and-8", "many", "colours", "alpha"],
)
def test_masks_that_are_refused(
    mask: NDArray[np.uint8], message: str, name: str, tmp_path: Path, nnunet_folders: NnunetFolders
) -> None:
    with pytest.raises(InputError, match=message):
        run(name, write_dataset(name, tmp_path / "data", mask=mask))
    assert list(nnunet_folders.raw.iterdir()) == []


def test_target_that_is_a_link(name: str, tmp_path: Path, nnunet_folders: NnunetFolders) -> None:
    """The folder on the other disk is filled, and the link stays."""
    description = load_converter(name).DESCRIPTION
    link = nnunet_folders.raw / f"Dataset{description.dataset_id}_{description.name}"
    link.symlink_to(tmp_path / "disk", target_is_directory=True)
    source = write_dataset(name, tmp_path / "data")
    with pytest.raises(InputError, match=r"is a link to .*disk, which is not there"):
        run(name, source)
    (tmp_path / "disk").mkdir()
    with pytest.raises(InputError, match="exists already"):
        run(name, source)
    run(name, source, overwrite=True)
    assert link.is_symlink()
    assert (tmp_path / "disk" / "dataset.json").is_file()


def test_preview_and_summary(
    name: str, tmp_path: Path, nnunet_folders: NnunetFolders, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = run(name, write_dataset(name, tmp_path / "data"))
    with Image.open(folder / "preview.png") as preview:
        assert np.asarray(preview).std() > 0
    train = 10 if name == "liver" else 8
    out = capsys.readouterr().out
    assert f"imagesTr: {train} cases; 24 x 32; uint8\n" in out
    # 8 x 14 pixels of 24 x 32
    assert re.search(rf"  1 \w+: 14.58% of all pixels, 14.58% to 14.58% of a case, in {train} of {train} cases", out)
