from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import tifffile
from conftest import NnunetFolders
from nnunetv2.experiment_planning.plan_and_preprocess_api import extract_fingerprint_dataset
from nnunetv2.imageio.natural_image_reader_writer import NaturalImage2DIO
from numpy.typing import NDArray
from pictures import read_all

from nnunet_pyconv.dataset_conversion import conversion, kaggle_lung
from nnunet_pyconv.errors import InputError

NAME = "Dataset313_KaggleLung"
AIR, LUNG, TISSUE, METAL = -1024, -850, 40, 3071
HU = np.full((32, 40), TISSUE)
HU[:4], HU[10:20, 5:15], HU[30, 30] = AIR, LUNG, METAL
MASK = (HU == LUNG).astype(np.uint8)


def write_lung(source: Path, number: int, image: NDArray[np.generic], mask: NDArray[np.generic] = MASK * 255) -> str:
    name = f"ID_{number:04d}_Z_{100 + number:04d}"
    for folder, pixels in (("2d_images", image), ("2d_masks", mask)):
        (source / folder).mkdir(parents=True, exist_ok=True)
        tifffile.imwrite(source / folder / f"{name}.tif", pixels)
    return name


@pytest.fixture
def lungs(tmp_path: Path) -> Path:
    """Ten slices in int16; the number of the slice stands in its first pixel."""
    source = tmp_path / "lungs"
    for number in range(10):
        image = HU.astype(np.int16)
        image[0, 0] = number
        write_lung(source, number, image)
    return source


def convert(source: Path, **arguments: object) -> Path:
    return conversion.convert(kaggle_lung, source, num_processes=2, **arguments)  # type: ignore[arg-type]


def split_names(folder: Path) -> tuple[set[str], set[str]]:
    train, test = (read_all(folder / name).keys() for name in ("labelsTr", "labelsTs"))
    return {name.removesuffix(".tif") for name in train}, {name.removesuffix(".tif") for name in test}


def test_converts(lungs: Path, nnunet_folders: NnunetFolders, capsys: pytest.CaptureFixture[str]) -> None:
    folder = convert(lungs)
    assert folder == nnunet_folders.raw / NAME
    train, test = split_names(folder)
    # the split sets 20 % aside that stand first in numpy.random.RandomState(41).permutation(10)
    assert test == {"ID_0005_Z_0105", "ID_0006_Z_0106"}
    assert len(train) == 8
    for part in ("Tr", "Ts"):
        for name, image in read_all(folder / f"images{part}").items():
            assert image.dtype == np.int16
            np.testing.assert_array_equal(
                image, tifffile.imread(lungs / "2d_images" / name.replace("_0000.tif", ".tif"))
            )
        for label in read_all(folder / f"labels{part}").values():
            np.testing.assert_array_equal(label, MASK)
    dataset_json = json.loads((folder / "dataset.json").read_text())
    assert dataset_json["channel_names"] == {"0": "CT"}
    assert dataset_json["labels"] == {"background": 0, "lung": 1}
    assert (dataset_json["numTraining"], dataset_json["file_ending"]) == (8, ".tif")
    assert "warning" not in capsys.readouterr().err


def test_protocol_of_the_paper(lungs: Path, nnunet_folders: NnunetFolders) -> None:
    folder = convert(lungs, protocol="paper")
    (split,) = json.loads((folder / "splits_final.json").read_text())
    assert split["val"] == ["ID_0005_Z_0105", "ID_0006_Z_0106"]
    everything, test = split_names(folder)
    assert everything == {*split["train"], *split["val"]}
    assert test == set(split["val"])
    assert json.loads((folder / "dataset.json").read_text())["numTraining"] == 10


@pytest.mark.parametrize(
    ("stored", "written"),
    [
        (HU.astype(np.int16), np.int16),
        (HU.astype(np.int32), np.int16),
        (HU.astype(">i2"), np.int16),
        (HU.astype(np.float32), np.int16),
        (HU.astype(np.float32) + 0.25, np.float32),
        (HU.astype(np.float64) + 0.25, np.float32),
        ((HU % 2**16).astype(np.uint16), np.int16),
        ((HU % 2**32).astype(np.uint32), np.int16),
    ],
    ids=["int16", "int32", "big-endian", "whole-float32", "float32", "float64", "wrapped-uint16", "wrapped-uint32"],
)
def test_hounsfield_units_stay(
    stored: NDArray[np.generic], written: type, tmp_path: Path, nnunet_folders: NnunetFolders
) -> None:
    for number in range(7):
        write_lung(tmp_path, number, stored)
    expected = HU + (0.25 if written is np.float32 else 0)
    folder = convert(tmp_path)
    for path in (folder / "imagesTr").iterdir():
        assert tifffile.imread(path).dtype == written
        as_nnunet_reads_it, _ = NaturalImage2DIO().read_images([str(path)])
        np.testing.assert_array_equal(as_nnunet_reads_it, expected[None, None])


@pytest.mark.parametrize(
    "mask", [MASK, MASK * 255, np.repeat(MASK[..., None] * 255, 3, axis=-1)], ids=["0/1", "0/255", "rgb"]
)
def test_masks(mask: NDArray[np.uint8], tmp_path: Path, nnunet_folders: NnunetFolders) -> None:
    for number in range(7):
        write_lung(tmp_path, number, HU.astype(np.int16), mask)
    for label in read_all(convert(tmp_path) / "labelsTr").values():
        np.testing.assert_array_equal(label, MASK)


def nested(source: Path) -> Path:
    """As archives unpack: a folder around the data, and 2d_images in 2d_images."""
    parent = source.parent / "download"
    parent.mkdir()
    (parent / "3d_images").mkdir()
    source.rename(parent / "finding-lungs-in-ct-data")
    images = parent / "finding-lungs-in-ct-data" / "2d_images"
    images.rename(parent / "inner")
    images.mkdir()
    (parent / "inner").rename(images / "2d_images")
    return parent


def endings(source: Path) -> Path:
    for path in (source / "2d_images").iterdir():
        path.rename(path.with_suffix(".TIFF"))
    (source / "2d_masks" / "._ID_0000_Z_0100.tif").touch()
    (source / "2d_masks" / "Thumbs.db").touch()
    return source


@pytest.mark.parametrize("change", [nested, endings])
def test_variations_of_the_layout(change: Callable[[Path], Path], lungs: Path, nnunet_folders: NnunetFolders) -> None:
    train, test = split_names(convert(change(lungs)))
    assert (len(train), len(test)) == (8, 2)


def test_8_bits_are_converted_with_a_warning(
    tmp_path: Path, nnunet_folders: NnunetFolders, capsys: pytest.CaptureFixture[str]
) -> None:
    for number in range(7):
        byte = HU.astype(np.uint8)
        byte[0, 0] = number
        write_lung(tmp_path, number, np.repeat(byte[..., None], 3, axis=-1) if number < 6 else byte)
    folder = convert(tmp_path)
    assert {image.shape for image in read_all(folder / "imagesTr").values()} == {HU.shape}
    (warning,) = [line for line in capsys.readouterr().err.splitlines() if line.startswith("warning")]
    assert "ID_0000_Z_0100" in warning
    assert "(7 in all): pixels of 8 bits. The Hounsfield units were lost" in warning


def test_slices_of_air_and_the_padding_of_scanners_are_not_odd(
    tmp_path: Path, nnunet_folders: NnunetFolders, capsys: pytest.CaptureFixture[str]
) -> None:
    for number in range(7):
        image = np.full(HU.shape, -1000) if number < 2 else HU + number
        image[:, :2] = -1000 if number < 2 else -3024
        write_lung(tmp_path, number, image.astype(np.int16))
    convert(tmp_path)
    assert "warning" not in capsys.readouterr().err


def test_what_is_odd_is_reported(
    tmp_path: Path, nnunet_folders: NnunetFolders, capsys: pytest.CaptureFixture[str]
) -> None:
    for number in range(7):
        write_lung(tmp_path, number, (HU + number).astype(np.int16))
    twice = write_lung(tmp_path, 7, HU.astype(np.int16))
    shifted = write_lung(tmp_path, 8, (HU + 1024).astype(np.int16))
    empty = write_lung(tmp_path, 9, (HU + 9).astype(np.int16), np.zeros_like(MASK))
    unsigned = write_lung(tmp_path, 10, np.linspace(0, 2**16 - 1, HU.size).astype(np.uint16).reshape(HU.shape))
    rescaled = write_lung(tmp_path, 11, (HU / 1000).astype(np.float32))
    train, test = split_names(convert(tmp_path))
    assert {shifted, empty, unsigned, rescaled} <= train | test
    err = capsys.readouterr().err
    assert f"warning: {shifted}: no negative value, though air has -1000 Hounsfield units" in err
    assert f"warning: {empty}: an empty mask" in err
    assert f"warning: {unsigned}: values below -4096, which are no Hounsfield units" in err
    assert f"warning: {rescaled}: all values within -20 and 20" in err
    assert f"warning: ID_0000_Z_0100 = {twice}: the same image; where one trains and another tests" in err
    assert err.count("warning: ") == 5


def usable(images: Path, masks: Path) -> None:
    pass


def wrong_size(images: Path, masks: Path) -> None:
    tifffile.imwrite(masks, MASK[:20])


def unreadable(images: Path, masks: Path) -> None:
    images.write_bytes(b"II*\0 and no more")


def without_mask(images: Path, masks: Path) -> None:
    masks.unlink()


@pytest.mark.parametrize(
    ("damage", "reason"),
    [
        (usable, None),
        (wrong_size, "left out: .*the image has 32 x 40 pixels and its label 20 x 40"),
        (unreadable, "left out: .*2d_images.*copy the file again"),
        (without_mask, "left out: not in .*2d_masks"),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
@pytest.mark.parametrize("protocol", ["clean", "paper"])
def test_slices_that_are_known_to_be_odd_are_reported(
    damage: Callable[[Path, Path], None],
    reason: str | None,
    protocol: str,
    lungs: Path,
    nnunet_folders: NnunetFolders,
    capsys: pytest.CaptureFixture[str],
) -> None:
    odd = ["ID_0052_Z_0108", "ID_0079_Z_0072", "ID_0134_Z_0137", "ID_0254_Z_0075"]
    for name in odd:
        for folder in ("2d_images", "2d_masks"):
            (lungs / folder / f"{name}.tif").write_bytes((lungs / folder / "ID_0000_Z_0100.tif").read_bytes())
    damage(*(lungs / folder / f"{odd[1]}.tif" for folder in ("2d_images", "2d_masks")))
    folder = convert(lungs, protocol=protocol)
    train, test = split_names(folder)
    assert (odd[1] in train | test) == (reason is None)
    assert {odd[0], odd[2], odd[3]} <= train | test
    assert json.loads((folder / "dataset.json").read_text())["numTraining"] == len(train)
    if protocol == "paper":
        (split,) = json.loads((folder / "splits_final.json").read_text())
        assert {*split["train"], *split["val"]} == train
    err = capsys.readouterr().err
    assert f"warning: {odd[0]}, {odd[2]}, {odd[3]}: its mask is wrong in the original data: the air around" in err
    if reason is None:
        assert f"warning: {odd[1]}: its mask is wrong in the original data: one of the two lungs" in err
    else:
        assert re.search(f"warning: {odd[1]}: {reason}", err)


IMAGE, LABEL = "2d_images/ID_0003_Z_0103.tif", "2d_masks/ID_0003_Z_0103.tif"
COLOURS = np.stack([HU, HU + 1, HU], axis=-1).astype(np.int16)
THREE_PAGES = np.stack([HU, HU, HU]).astype(np.int16)


@pytest.mark.parametrize(
    ("name", "write", "message"),
    [
        (LABEL, Path.unlink, r"ID_0003_Z_0103\.tif in .*2d_images has no label in .*2d_masks"),
        (IMAGE, Path.unlink, r"ID_0003_Z_0103\.tif in .*2d_masks has no image in .*2d_images"),
        (LABEL, lambda p: tifffile.imwrite(p, MASK[:20]), "image has 32 x 40 pixels and its label 20 x 40"),
        (LABEL, lambda p: tifffile.imwrite(p, MASK + 2), r"has 2 values \(2, 3\); expected two, 0 and 255"),
        (IMAGE, lambda p: p.write_bytes(p.read_bytes()[:700]), r"can't read .*2d_images.*truncated"),
        (IMAGE, lambda p: p.write_bytes(b"not a picture"), r"can't read .*2d_images"),
        (IMAGE, lambda p: tifffile.imwrite(p, COLOURS, photometric="rgb"), "is a colour image"),
        (IMAGE, lambda p: tifffile.imwrite(p, THREE_PAGES, photometric="minisblack"), "3 pages; expected one"),
        (IMAGE, lambda p: tifffile.imwrite(p, HU.astype(np.complex64)), "pixels of type complex64; expected integers"),
        (IMAGE, lambda p: tifffile.imwrite(p, MASK), "ID_0003_Z_0103: pixels of 8 bits, among images of int16"),
        (IMAGE, lambda p: tifffile.imwrite(p, HU.astype(np.int8)), "pixels of type int8; expected Hounsfield"),
        (IMAGE, lambda p: tifffile.imwrite(p, HU * np.float32(np.nan)), "not finite.*-1024"),
        (IMAGE, lambda p: tifffile.imwrite(p, (HU * 100).astype(np.int32)), "values from -102400 to 307100; expected"),
        ("2d_images/ID_0003_Z_0103.tiff", lambda p: tifffile.imwrite(p, HU), "both have the name ID_0003_Z_0103"),
    ],
    ids=[
        "no-mask", "no-image", "other-size", "mask-of-2-and-3", "truncated", "no-picture", "colours", "pages",
        "complex", "one-of-8-bits", "int8", "nan", "no-hounsfield", "duplicate",
    ],
)  # fmt: skip
def test_bad_input(
    name: str, write: Callable[[Path], None], message: str, lungs: Path, nnunet_folders: NnunetFolders
) -> None:
    write(lungs / name)
    with pytest.raises(InputError, match=message):
        convert(lungs)
    assert list(nnunet_folders.raw.iterdir()) == []


def test_folders_that_are_missing(tmp_path: Path, lungs: Path, nnunet_folders: NnunetFolders) -> None:
    with pytest.raises(InputError, match="nowhere does not exist"):
        convert(tmp_path / "nowhere")
    (tmp_path / "zipped").mkdir()
    (tmp_path / "zipped" / "2d_images.zip").touch()
    with pytest.raises(InputError, match="zipped has no folder 2d_images and 2d_masks.*unpacked"):
        convert(tmp_path / "zipped")
    (tmp_path / "both" / "one").mkdir(parents=True)
    for name in ("one", "two"):
        for folder in ("2d_images", "2d_masks"):
            (tmp_path / "both" / name / folder).mkdir(parents=True)
    with pytest.raises(InputError, match="holds the kaggleLung data 2 times"):
        convert(tmp_path / "both")
    with pytest.raises(InputError, match=r"has no slice \(\*\.png, \*\.tif, "):
        convert(tmp_path / "both" / "one")


def test_too_few(tmp_path: Path, nnunet_folders: NnunetFolders) -> None:
    write_lung(tmp_path, 0, HU.astype(np.int16))
    with pytest.raises(InputError, match="found 1 labelled case; expected at least 2"):
        convert(tmp_path)
    for number in range(6):
        write_lung(tmp_path, number, HU.astype(np.int16))
    with pytest.raises(InputError, match="6 labelled slices, 2 of them for the test.*--protocol paper"):
        convert(tmp_path)
    train, test = split_names(convert(tmp_path, protocol="paper"))
    assert (len(train), len(test)) == (6, 2)


@pytest.mark.slow
def test_nnunet_accepts_mixed_types(lungs: Path, nnunet_folders: NnunetFolders) -> None:
    """nnU-Net's own integrity check and fingerprint, whose intensities are Hounsfield units."""
    write_lung(lungs, 2, HU.astype(np.float32) + 0.25)
    write_lung(lungs, 3, HU.astype(np.int32))
    convert(lungs)
    extract_fingerprint_dataset(313, num_processes=1, check_dataset_integrity=True)
    fingerprint = json.loads((nnunet_folders.preprocessed / NAME / "dataset_fingerprint.json").read_text())
    assert fingerprint["foreground_intensity_properties_per_channel"]["0"]["median"] == LUNG
