from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import skimage.io as io
from conftest import NnunetFolders
from numpy.typing import NDArray
from pictures import read_all

from nnunet_pyconv.dataset_conversion import conversion, liver
from nnunet_pyconv.errors import InputError

NAME = "Dataset314_Liver"
MASK = np.zeros((24, 32), np.uint8)
MASK[4:12, 6:20] = 1


def grey_of(folder: str, number: int) -> NDArray[np.uint8]:
    image = np.random.default_rng(number).integers(0, 256, MASK.shape, dtype=np.uint8)
    image[0, 0] = {"train": 1, "val": 2}[folder]
    return image


def save(path: Path, pixels: NDArray[np.generic]) -> None:
    io.imsave(path, pixels, check_contrast=False)


@pytest.fixture
def livers(tmp_path: Path) -> Path:
    """Six pairs in train/ and two in val/, RGB with equal channels."""
    source = tmp_path / "livers"
    for folder, count in (("train", 6), ("val", 2)):
        (source / folder).mkdir(parents=True)
        for number in range(count):
            save(source / folder / f"{number:03d}.png", np.repeat(grey_of(folder, number)[..., None], 3, axis=-1))
            save(source / folder / f"{number:03d}_mask.png", MASK * 255)
    return source


def convert(source: Path, **arguments: object) -> Path:
    return conversion.convert(liver, source, num_processes=2, **arguments)  # type: ignore[arg-type]


def test_converts(livers: Path, nnunet_folders: NnunetFolders) -> None:
    folder = convert(livers)
    assert folder == nnunet_folders.raw / NAME
    for part, source, count in (("Tr", "train", 6), ("Ts", "val", 2)):
        images, labels = read_all(folder / f"images{part}"), read_all(folder / f"labels{part}")
        assert list(images) == [f"liver_{source}_{number:03d}_0000.png" for number in range(count)]
        assert list(labels) == [f"liver_{source}_{number:03d}.png" for number in range(count)]
        for number, image in enumerate(images.values()):
            np.testing.assert_array_equal(image, grey_of(source, number))
        for label in labels.values():
            np.testing.assert_array_equal(label, MASK)
    dataset_json = json.loads((folder / "dataset.json").read_text())
    assert dataset_json["labels"] == {"background": 0, "liver": 1}
    assert dataset_json["channel_names"] == {"0": "windowed CT"}  # not CT: no Hounsfield units
    assert "neighbouring slices may be in several folds" in dataset_json["description"]


def test_protocol_of_the_paper(livers: Path, nnunet_folders: NnunetFolders) -> None:
    folder = convert(livers, protocol="paper")
    (split,) = json.loads((folder / "splits_final.json").read_text())
    assert split == {
        "train": [f"liver_train_{number:03d}" for number in range(6)],
        "val": ["liver_val_000", "liver_val_001"],
    }
    assert len(read_all(folder / "imagesTr")) == 8
    assert list(read_all(folder / "labelsTs")) == ["liver_val_000.png", "liver_val_001.png"]


def grey(source: Path) -> Path:
    for path in source.glob("*/???.png"):
        save(path, io.imread(path)[..., 0])
    return source


def opaque(source: Path) -> Path:
    for path in source.glob("*/???.png"):
        save(path, np.concatenate([io.imread(path), np.full((*MASK.shape, 1), 255, np.uint8)], axis=-1))
    return source


def masks_of_1(source: Path) -> Path:
    for path in source.glob("*/*_mask.png"):
        save(path, MASK)
    return source


def masks_in_colour(source: Path) -> Path:
    for path in source.glob("*/*_mask.png"):
        save(path, np.repeat(MASK[..., None] * 255, 3, axis=-1))
    return source


def one_bit_masks(source: Path) -> Path:
    from PIL import Image

    for path in source.glob("*/*_mask.png"):
        Image.fromarray(MASK.astype(bool)).save(path)
    return source


def unpadded(source: Path) -> Path:
    for path in sorted(source.glob("*/*.png")):
        path.rename(path.with_name(path.name.replace("00", "", 1)))
    return source


def folder_around(source: Path) -> Path:
    (source.parent / "data").mkdir()
    source.rename(source.parent / "data" / "liver")
    return source.parent / "data"


@pytest.mark.parametrize("change", [grey, opaque, masks_of_1, masks_in_colour, one_bit_masks, unpadded, folder_around])
def test_variations(change: Callable[[Path], Path], livers: Path, nnunet_folders: NnunetFolders) -> None:
    expected = convert(livers)
    other = convert(change(livers), dataset_id=7)
    for part in ("imagesTr", "labelsTr", "imagesTs", "labelsTs"):
        before, after = read_all(expected / part), read_all(other / part)
        assert before.keys() == after.keys()
        for name, image in after.items():
            np.testing.assert_array_equal(image, before[name])


def without_masks(folder: Path) -> None:
    for mask in folder.glob("*_mask.png"):
        mask.unlink()


def file_instead(folder: Path) -> None:
    shutil.rmtree(folder)
    folder.touch()


@pytest.mark.parametrize(
    ("name", "write", "message"),
    [
        ("train/003_mask.png", Path.unlink, r"003\.png in .*train has no label in .*train"),
        ("val/001.png", Path.unlink, r"001_mask\.png in .*val has no image in .*val"),
        ("train/3.png", lambda p: save(p, MASK), r"003\.png and .*3\.png both have the number 3"),
        ("train/notes.png", lambda p: save(p, MASK), r"notes\.png is neither image nor mask; expected files named 000"),
        ("train/003_mask.png", lambda p: save(p, MASK[:10]), "image has 24 x 32 pixels and its label 10 x 32"),
        ("train/003_mask.png", lambda p: save(p, MASK + 7), r"has 2 values \(7, 8\); expected two, 0 and 255"),
        ("train/003_mask.png", lambda p: save(p, grey_of("val", 0)), "values.*antialiasing"),
        ("train/003.png", lambda p: save(p, np.stack([MASK, MASK, 1 - MASK], axis=-1)), "is a colour image"),
        ("train/003.png", lambda p: p.write_bytes(p.read_bytes()[:90]), r"can't read .*003\.png.*truncated"),
        ("val", without_masks, r"val has no mask \(\*\.png, .* of this dataset"),
        ("val", file_instead, "has no folder train and val"),
        ("val", shutil.rmtree, "has no folder train and val; give the folder that holds the liver data"),
    ],
    ids=[
        "no-mask",
        "no-image",
        "twice",
        "other-name",
        "size",
        "7",
        "antialiased",
        "colours",
        "truncated",
        "no-masks",
        "file",
        "no-val",
    ],
)
def test_bad_input(
    name: str, write: Callable[[Path], None], message: str, livers: Path, nnunet_folders: NnunetFolders
) -> None:
    write(livers / name)
    with pytest.raises(InputError, match=message):
        convert(livers)
    assert list(nnunet_folders.raw.iterdir()) == []
