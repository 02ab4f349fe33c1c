"""`convert folder`: a user's own images and label images."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import SimpleITK
import skimage.io as io
import tifffile
from conftest import NnunetFolders
from numpy.typing import NDArray
from pictures import read_all
from PIL import Image

from nnunet_pyconv.cli import main

NUM_CASES = 10
SHAPE = (24, 32)
MASK = np.zeros(SHAPE, np.uint8)
MASK[4:12, 6:20] = 255
TWO_CLASSES = MASK // 255
TWO_CLASSES[14:20, 2:9] = 2


def image_of(number: int, channels: int = 1, dtype: type = np.uint8) -> NDArray[Any]:
    shape = SHAPE if channels == 1 else (*SHAPE, channels)
    return np.random.default_rng(number).integers(0, np.iinfo(dtype).max, shape, dtype=dtype)


def save(path: Path, pixels: NDArray[Any]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.suffix == ".tif":
        tifffile.imwrite(path, pixels, photometric="rgb" if pixels.shape[-1] == 3 else "minisblack")
    else:
        Image.fromarray(pixels).save(path)


@pytest.fixture
def own(tmp_path: Path) -> Path:
    """Ten grey PNGs `images/NN.png` with masks `masks/NN_mask.png` of 0 and 255."""
    for number in range(NUM_CASES):
        save(tmp_path / "images" / f"{number:02d}.png", image_of(number))
        save(tmp_path / "masks" / f"{number:02d}_mask.png", MASK)
    return tmp_path


def convert(own: Path, *options: str) -> None:
    main(["convert", "folder", "-i", str(own / "images"), "-l", str(own / "masks"), "-d", "501", "-n", "Own",
          "-np", "2", *options])  # fmt: skip


def fails(capsys: pytest.CaptureFixture[str], own: Path, *options: str) -> str:
    with pytest.raises(SystemExit) as exit_:
        convert(own, *options)
    assert exit_.value.code == 2
    return capsys.readouterr().err.rpartition("error: ")[2]


@pytest.fixture
def folder(nnunet_folders: NnunetFolders) -> Path:
    return nnunet_folders.raw / "Dataset501_Own"


def dataset_json(folder: Path) -> dict[str, Any]:
    content: dict[str, Any] = json.loads((folder / "dataset.json").read_text())
    return content


def test_pairs_of_grey_pictures(own: Path, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    convert(own)
    images, labels = read_all(folder / "imagesTr"), read_all(folder / "labelsTr")
    assert list(images) == [f"{number:02d}_0000.png" for number in range(NUM_CASES)]
    assert list(labels) == [f"{number:02d}.png" for number in range(NUM_CASES)]
    for number, image in enumerate(images.values()):
        np.testing.assert_array_equal(image, image_of(number))
    for label in labels.values():
        np.testing.assert_array_equal(label, MASK // 255)
    content = dataset_json(folder)
    assert content["labels"] == {"background": 0, "foreground": 1}
    assert content["channel_names"] == {"0": "grey"}
    assert (content["numTraining"], content["file_ending"]) == (NUM_CASES, ".png")
    out = capsys.readouterr().out
    assert "'_mask' (10)" in out
    assert "imagesTr: 10 cases; 24 x 32; uint8" in out
    assert "nnUNetv2_plan_and_preprocess -d 501 -c 2d --verify_dataset_integrity" in out
    assert (folder / "preview.png").is_file()


@pytest.mark.parametrize(
    ("image", "ending", "expected", "channels"),
    [
        (image_of(1, 3), ".png", image_of(1, 3), ["R", "G", "B"]),
        (np.dstack([image_of(1, 3), np.full(SHAPE, 255, np.uint8)]), ".png", image_of(1, 3), ["R", "G", "B"]),
        (image_of(1, 1, np.uint16), ".png", image_of(1, 1, np.uint16), ["grey"]),
        (image_of(1, 3, np.uint16), ".tif", image_of(1, 3, np.uint16), ["R", "G", "B"]),
        (image_of(1, 1, np.int16), ".tif", image_of(1, 1, np.int16), ["grey"]),
        (image_of(1) / np.float32(7), ".tif", image_of(1) / np.float32(7), ["grey"]),
    ],
    ids=["rgb", "rgba", "grey16", "rgb16", "int16", "float"],
)  # fmt: skip
def test_kinds_of_pictures(
    image: NDArray[Any], ending: str, expected: NDArray[Any], channels: list[str], own: Path, folder: Path
) -> None:
    for path in (own / "images").iterdir():
        path.unlink()
        save(path.with_suffix(ending), image)
    convert(own)
    content = dataset_json(folder)
    assert list(content["channel_names"].values()) == channels
    for path in (folder / "imagesTr").iterdir():
        written = io.imread(path)  # as nnU-Net's NaturalImage2DIO does
        assert written.dtype == expected.dtype
        np.testing.assert_array_equal(written, expected)
    assert {path.suffix for path in (folder / "labelsTr").iterdir()} == {content["file_ending"]}


def test_grey_among_colours(own: Path, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    save(own / "images/03.png", image_of(3, 3))
    convert(own)
    assert {image.shape for image in read_all(folder / "imagesTr").values()} == {(*SHAPE, 3)}
    assert "9 of 10 images are grey; they get three equal channels" in capsys.readouterr().err


def test_several_masks_of_a_case_are_merged(own: Path, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    second = np.roll(MASK, 10, axis=0)
    save(own / "masks/04_mask_1.png", second)
    convert(own)
    np.testing.assert_array_equal(io.imread(folder / "labelsTr/04.png"), np.maximum(MASK, second) // 255)
    assert "04.png: several label images each, which are merged" in capsys.readouterr().out


def test_masks_that_contradict_each_other(own: Path, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for path in (own / "masks").iterdir():
        save(path, MASK // 255)
    save(own / "masks/04_mask_2.png", MASK // 255 * 2)
    # the mask has 8 x 14 pixels
    assert "of 04 give 112 pixels two classes" in fails(capsys, own, "--labels", "background=0", "a=1", "b=2")
    assert not folder.exists()


def test_named_values(own: Path, folder: Path) -> None:
    for path in (own / "masks").iterdir():
        save(path, TWO_CLASSES * 100)
    convert(own, "--labels", "ignore=200", "background=0", "cell=100")
    assert dataset_json(folder)["labels"] == {"background": 0, "cell": 1, "ignore": 2}
    for label in read_all(folder / "labelsTr").values():
        np.testing.assert_array_equal(label, TWO_CLASSES)


def test_several_values_of_one_class(own: Path, folder: Path) -> None:
    for path in (own / "masks").iterdir():
        save(path, TWO_CLASSES)
    convert(own, "--labels", "cell=1,2")
    assert dataset_json(folder)["labels"] == {"background": 0, "cell": 1}
    for label in read_all(folder / "labelsTr").values():
        np.testing.assert_array_equal(label, TWO_CLASSES > 0)


COLOURS = np.array([[0, 0, 0], [0, 255, 0], [255, 0, 0]], np.uint8)


def test_named_colours(own: Path, folder: Path) -> None:
    for path in (own / "masks").iterdir():
        save(path, COLOURS[TWO_CLASSES])
    convert(own, "--colours", "stroma=0,255,0", "tumour=#ff0000")
    assert dataset_json(folder)["labels"] == {"background": 0, "stroma": 1, "tumour": 2}
    for label in read_all(folder / "labelsTr").values():
        np.testing.assert_array_equal(label, TWO_CLASSES)


def test_palette_with_colours_counts_by_index(own: Path, folder: Path) -> None:
    """As label images of several public datasets have them."""
    for path in (own / "masks").iterdir():
        image = Image.new("P", SHAPE[::-1])
        image.putdata(TWO_CLASSES.ravel().tolist())
        image.putpalette(COLOURS.ravel().tolist())
        image.save(path)
    convert(own, "--labels", "background=0", "stroma=1", "tumour=2")
    for label in read_all(folder / "labelsTr").values():
        np.testing.assert_array_equal(label, TWO_CLASSES)


VOC = np.array([[0, 0, 0], [255, 0, 0], [0, 0, 255], [128, 128, 128]], np.uint8)


@pytest.mark.parametrize("white_background", [False, True])
def test_indices_count_in_images_whose_colours_are_grey_too(own: Path, folder: Path, white_background: bool) -> None:
    """A palette has colours for classes; that of one image may be grey, as black and grey are in PASCAL VOC."""
    indices = dict.fromkeys(sorted((own / "masks").iterdir()), TWO_CLASSES)
    indices[own / "masks/00_mask.png"] = np.where(TWO_CLASSES == 1, 3, 0).astype(np.uint8)
    indices[own / "masks/01_mask.png"] = np.zeros_like(TWO_CLASSES)
    palette = VOC.copy()
    if white_background:
        palette[0] = 255
    for path, classes in indices.items():
        image = Image.fromarray(classes, "P")
        image.putpalette(palette.ravel().tolist())
        image.save(path)
    convert(own, "--labels", "background=0", "plane=1", "bird=2", "car=3")
    for path, classes in indices.items():
        label = io.imread(folder / "labelsTr" / path.name.replace("_mask", ""))
        np.testing.assert_array_equal(label, classes)


def test_folders_that_are_given_are_not_part_of_others(own: Path, folder: Path) -> None:
    """Labels below the images, and a test set below the training set."""
    (own / "masks").rename(own / "images/masks_of_mine")
    for number in range(2):
        save(own / f"images/later/t{number}.png", image_of(100 + number))
        save(own / f"images/masks_of_mine/later/t{number}_mask.png", MASK)
    masks = own / "images/masks_of_mine"
    test = ["-ti", str(own / "images/later"), "-tl", str(masks / "later")]
    main(["convert", "folder", "-i", str(own / "images"), "-l", str(masks), *test, "-d", "501", "-n", "Own"])
    assert [file.name for file in sorted((folder / "imagesTs").iterdir())] == ["t0_0000.png", "t1_0000.png"]
    assert len(list((folder / "imagesTr").iterdir())) == len(list((folder / "labelsTr").iterdir())) == NUM_CASES


def test_exact_values_are_not_counted_as_approximated(
    own: Path, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for path in (own / "masks").iterdir():
        save(path, MASK // 255 * 200)
    convert(own, "--threshold", "--labels", "background=0", "cell=200")
    convert(own, "--threshold", "100", "--overwrite")
    assert "had a value that no class has" not in capsys.readouterr().err


def test_first_of_counted_frames(own: Path, folder: Path) -> None:
    """nnU-Net's own `_0000` is that of a channel; frames that are counted from 0 keep it."""
    for kind in ("images", "masks"):
        for path in (own / kind).iterdir():
            path.rename(path.with_name(f"frame_00{path.name}"))
    convert(own)
    assert {file.name for file in (folder / "labelsTr").iterdir()} == {f"frame_00{n:02d}.png" for n in range(NUM_CASES)}


def test_threshold_says_how_many_pixels_it_touches(own: Path, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    blurred = MASK.copy()
    blurred[3, 6:20], blurred[12, 6:20] = 127, 128
    save(own / "masks/05_mask.png", blurred)
    err = fails(capsys, own)
    assert "the label images have the values 0, 127, 128, 255; expected 0 and one other" in err
    convert(own, "--threshold")
    expected = MASK // 255
    expected[12, 6:20] = 1
    np.testing.assert_array_equal(io.imread(folder / "labelsTr/05.png"), expected)
    # twice 14 pixels of 10 x 24 x 32
    assert "warning: 05: 28 pixels of the label images (0.365% of all) had a value" in capsys.readouterr().err


def test_jpeg_masks(own: Path, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for path in (own / "masks").iterdir():
        path.unlink()
        Image.fromarray(MASK).save(path.with_suffix(".jpg"), quality=90)
    assert "is a JPEG, whose compression changes values at edges" in fails(capsys, own)
    convert(own, "--threshold", "--labels", "background=0", "nucleus=255")
    assert dataset_json(folder)["labels"] == {"background": 0, "nucleus": 1}
    for label in read_all(folder / "labelsTr").values():
        np.testing.assert_array_equal(label, MASK // 255)


def test_jpeg_colours_take_the_nearest(own: Path, folder: Path) -> None:
    for path in (own / "masks").iterdir():
        path.unlink()
        Image.fromarray(COLOURS[TWO_CLASSES]).save(path.with_suffix(".jpg"), quality=95, subsampling=0)
    convert(own, "--colours", "stroma=0,255,0", "tumour=255,0,0", "--threshold")
    for label in read_all(folder / "labelsTr").values():
        np.testing.assert_array_equal(label, TWO_CLASSES)


@pytest.mark.parametrize("colour", [False, True])
def test_instances_become_one_class(colour: bool, own: Path, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    instances = TWO_CLASSES.astype(np.uint16) * 300
    for path in (own / "masks").iterdir():
        save(path, COLOURS[TWO_CLASSES] if colour else instances)
    assert "--colours" if colour else "or give --instances NAME" in fails(capsys, own)
    convert(own, "--instances", "nucleus")
    assert dataset_json(folder)["labels"] == {"background": 0, "nucleus": 1}
    for label in read_all(folder / "labelsTr").values():
        np.testing.assert_array_equal(label, TWO_CLASSES > 0)


def names(folder: Path) -> set[str]:
    return {path.stem for path in folder.iterdir()}


def test_test_fraction(own: Path, folder: Path) -> None:
    convert(own, "--test", "0.3")
    train, test = names(folder / "labelsTr"), names(folder / "labelsTs")
    assert (len(train), len(test), len(names(folder / "imagesTs"))) == (7, 3, 3)
    assert not train & test
    convert(own, "--test", "0.3", "--overwrite")
    assert names(folder / "labelsTs") == test


@pytest.mark.parametrize("labelled", [False, True])
def test_folder_of_test_images(labelled: bool, own: Path, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for number in range(2):
        save(own / "more" / f"{number}.png", image_of(100 + number))
        save(own / "more_masks" / f"{number}.png", MASK)
    convert(own, "-ti", str(own / "more"), *(["-tl", str(own / "more_masks")] if labelled else []))
    assert names(folder / "imagesTs") == {"0_0000", "1_0000"}
    assert (folder / "labelsTs").exists() == labelled
    assert dataset_json(folder)["numTraining"] == NUM_CASES
    assert "imagesTs: 2 cases; 24 x 32; uint8" in capsys.readouterr().out


def patients(own: Path) -> Path:
    """Twenty images of ten patients."""
    for number in range(NUM_CASES):
        for kind, ending, pixels in (("images", "", image_of(number)), ("masks", "_mask", MASK)):
            first = own / kind / f"{number:02d}{ending}.png"
            first.rename(own / kind / f"p{number}_a{ending}.png")
            save(own / kind / f"p{number}_b{ending}.png", 255 - pixels if kind == "images" else pixels)
    return own


def test_patients_stay_together(own: Path, folder: Path) -> None:
    convert(patients(own), "--group-by", r"^(p\d+)_", "--test", "0.2")
    test = {name.split("_")[0] for name in names(folder / "labelsTs")}
    train = {name.split("_")[0] for name in names(folder / "labelsTr")}
    assert (len(test), len(train)) == (2, 8)
    assert not test & train
    folds = json.loads((folder / "splits_final.json").read_text())
    assert len(folds) == 5
    validated = []
    for fold in folds:
        validation, training = ({name.split("_")[0] for name in fold[part]} for part in ("val", "train"))
        assert not validation & training
        assert validation | training == train
        validated += fold["val"]
    assert sorted(validated) == sorted(names(folder / "labelsTr"))


def test_sizes_that_differ_are_all_named(own: Path, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for number in (2, 7):
        save(own / f"masks/{number:02d}_mask.png", MASK[:20])
    err = fails(capsys, own)
    for number in (2, 7):
        assert re.search(
            rf"{number:02d}\.png and .*{number:02d}_mask\.png: the image has 24 x 32 pixels and its label 20", err
        )
    assert not folder.exists()


def without_mask(own: Path) -> None:
    (own / "masks/03_mask.png").unlink()


def without_image(own: Path) -> None:
    (own / "images/03.png").unlink()


def twice(own: Path) -> None:
    Image.fromarray(image_of(3)).save(own / "images/03.bmp")


def all_empty(own: Path) -> None:
    for path in (own / "masks").iterdir():
        save(path, MASK * 0)


def coloured(own: Path) -> None:
    for path in (own / "masks").iterdir():
        save(path, COLOURS[TWO_CLASSES])


def of_0_and_1(own: Path) -> None:
    for path in (own / "masks").iterdir():
        save(path, MASK // 255)


def in_16_bits(own: Path) -> None:
    for path in (own / "masks").iterdir():
        save(path, MASK.astype(np.uint16))


def in_floats(own: Path) -> None:
    for path in (own / "masks").iterdir():
        path.unlink()
        save(path.with_suffix(".tif"), MASK / np.float32(255))


def a_volume_among_pictures(own: Path) -> None:
    for kind, voxels in (("images", image_of(0)), ("masks", MASK)):
        SimpleITK.WriteImage(volume(np.stack([voxels] * 4)), str(own / kind / "scan.nii.gz"))


def a_volume_for_a_picture(own: Path) -> None:
    (own / "masks/03_mask.png").unlink()
    SimpleITK.WriteImage(volume(np.stack([MASK] * 4)), str(own / "masks/03_mask.nii.gz"))


def masks_among_test_images(own: Path) -> None:
    save(own / "more/x.png", image_of(50))
    save(own / "more/x_mask.png", MASK)


def many_values(own: Path) -> None:
    save(own / "masks/03_mask.png", image_of(3))


def few(own: Path) -> None:
    for number in range(4, NUM_CASES):
        (own / f"images/{number:02d}.png").unlink()
        (own / f"masks/{number:02d}_mask.png").unlink()


def nothing(own: Path) -> None:
    pass


@pytest.mark.parametrize(
    ("damage", "options", "message"),
    [
        (without_mask, [], r"03\.png in .*images without a label image in .*masks"),
        (without_image, [], r"03_mask\.png in .*masks without an image in .*images"),
        (twice, [], r"03\.bmp and .*03\.png have one name"),
        (all_empty, [], "all label images are empty"),
        (coloured, [], r"00_mask\.png has colours; name them with --colours"),
        (coloured, ["--colours", "stroma=0,255,0"], r"00_mask\.png has 42 pixels .* no class \(#ff0000\); known are"),
        (coloured, ["--threshold"], "has colours; expected grey values to threshold"),
        (many_values, [], r"03_mask\.png has \d+ values; expected 2: give --threshold"),
        (many_values, ["--labels", "cell=255"], r"03_mask\.png has \d+ pixels .* that have no class"),
        (few, [], "found 4 cases to train on; expected at least 5"),
        (nothing, ["--test", "1.5"], r"--test 1.5: expected a fraction between 0 and 1"),
        (nothing, ["--labels", "cell"], "--labels cell: expected NAME=VALUE"),
        (nothing, ["--labels", "cell=0"], "0 stands for background and for cell; expected one class"),
        (nothing, ["--labels", "cell=x"], "'x' is no number"),
        (nothing, ["--colours", "cell=1,2"], "'1,2' is no colour; expected R,G,B"),
        (nothing, ["--labels", "a=1", "--colours", "a=1,2,3"], "--labels and --colours: expected one of them"),
        (nothing, ["--labels", "a=1", "b=2", "--threshold"], "expected one value of background and a higher one"),
        (nothing, ["--instances", "a", "--threshold"], "--instances and --threshold: expected one of them"),
        (nothing, ["--channels", "R", "G"], "--channels R G: the images have 1 channels"),
        (nothing, ["--group-by", "("], r"--group-by \(: .*expected a regular expression"),
        (nothing, ["--group-by", "patient"], "--group-by patient: does not match the case 00"),
        (nothing, ["--group-by", "0"], r"does not match the case 1\d|finds 1 group"),
        (nothing, ["-n", "my set"], "-n 'my set': expected a name of letters"),
        (nothing, ["-tl", "somewhere"], "expected -ti as well"),
        (nothing, ["--test", "0.2", "-ti", "somewhere"], "--test and -ti: expected one of them"),
        (nothing, ["--colours", "cell=1,2,3", "--threshold", "5"], "--threshold 5.*: with --colours it takes no value"),
        (nothing, ["--labels", "background=0"], "names only background"),
        (in_16_bits, ["--colours", "cell=255,255,255"], "has no colours of 8 bits"),
        (in_floats, ["--threshold"], "have no white; give the least value of the foreground as --threshold VALUE"),
        (a_volume_among_pictures, [], "the images are pictures and volumes; expected one kind"),
        (a_volume_for_a_picture, [], "are a picture and a volume; expected two of a kind"),
        (nothing, ["-ti", "{own}/images"], "expected another folder than -i"),
        (masks_among_test_images, ["-ti", "{own}/more"], r"more has label images \(x_mask\.png\); give -tl .*more too"),
        (of_0_and_1, ["--threshold"], "no label image in .*masks has a pixel of foreground; expected some"),
        (nothing, ["--threshold", "nan"], "--threshold nan: expected a number"),
        (nothing, ["--labels", *(f"c{n}={n}" for n in range(1, 300))], "names 300 classes; expected at most 256"),
        (nothing, ["--test", "0.95"], r"--test 0\.95 of 10 labelled cases leaves none to train"),
        (nothing, ["-ti", "nowhere"], "source nowhere does not exist; give the folder of the data with -ti"),
    ],
    ids=lambda value: value.__name__ if callable(value) else " ".join(value) if isinstance(value, list) else "",
)
def test_bad_input(
    damage: Callable[[Path], None],
    options: list[str],
    message: str,
    own: Path,
    nnunet_folders: NnunetFolders,
    capsys: pytest.CaptureFixture[str],
) -> None:
    damage(own)
    assert re.search(message, fails(capsys, own, *(option.replace("{own}", str(own)) for option in options)))
    assert list(nnunet_folders.raw.iterdir()) == []


def volume(voxels: NDArray[Any], **geometry: tuple[float, ...]) -> SimpleITK.Image:
    image = SimpleITK.GetImageFromArray(voxels)
    image.SetSpacing(geometry.get("spacing", (0.5, 0.6, 3)))
    image.SetOrigin(geometry.get("origin", (1, 2, 3)))
    image.SetDirection(geometry.get("direction", (1, 0, 0, 0, 1, 0, 0, 0, 1)))
    return image


@pytest.fixture(params=[".nii.gz", ".nrrd", ".nii"])
def volumes(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[Path, str]:
    """Six volumes with labels of 0, 1 and 2."""
    for number in range(6):
        for kind, voxels in (("images", image_of(number).astype(np.int16) - 900), ("masks", TWO_CLASSES)):
            (tmp_path / kind).mkdir(exist_ok=True)
            stack = np.stack([voxels] * 4)
            SimpleITK.WriteImage(volume(stack), str(tmp_path / kind / f"scan{number}{request.param}"))
    return tmp_path, request.param


def test_volumes(volumes: tuple[Path, str], folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    own, ending = volumes
    convert(own, "--labels", "background=0", "cell=1", "wall=2")
    written = ".nrrd" if ending == ".nrrd" else ".nii.gz"
    assert dataset_json(folder)["file_ending"] == written
    assert "values below -500, as Hounsfield units: --channels CT" in capsys.readouterr().err
    for part, expected in (
        ("imagesTr/scan3_0000", image_of(3).astype(np.int16) - 900),
        ("labelsTr/scan3", TWO_CLASSES),
    ):
        image = SimpleITK.ReadImage(str(folder / f"{part}{written}"))
        np.testing.assert_array_equal(SimpleITK.GetArrayFromImage(image)[1], expected)
        np.testing.assert_allclose(image.GetSpacing(), (0.5, 0.6, 3), rtol=1e-6)
        np.testing.assert_allclose(image.GetOrigin(), (1, 2, 3), rtol=1e-6)


@pytest.mark.parametrize(
    ("geometry", "message"),
    [
        ({"spacing": (0.5, 0.6, 2)}, r"has the spacing \(0.5, 0.6, 2\) and its image \(0.5, 0.6, 3\)"),
        ({"direction": (-1, 0, 0, 0, -1, 0, 0, 0, 1)}, r"has the direction \(-1, .*\) and its image \(1, "),
        ({"origin": (0, 0, 0)}, None),
    ],
)
def test_geometries_that_differ(
    geometry: dict[str, tuple[float, ...]],
    message: str | None,
    volumes: tuple[Path, str],
    folder: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    own, ending = volumes
    SimpleITK.WriteImage(volume(np.stack([TWO_CLASSES] * 4), **geometry), str(own / f"masks/scan2{ending}"))
    if message is None:
        convert(own, "--instances", "cell")
        assert "scan2: image and label image have different origins" in capsys.readouterr().err
    else:
        assert re.search(rf"scan2{ending} {message}", fails(capsys, own, "--instances", "cell"))


def test_channels_on_a_fourth_axis(tmp_path: Path, folder: Path) -> None:
    for number in range(6):
        channels = [volume(np.stack([image_of(number + 10 * k)] * 4)) for k in range(2)]
        for kind, image in (("images", SimpleITK.JoinSeries(channels)), ("masks", volume(np.stack([MASK] * 4)))):
            (tmp_path / kind).mkdir(exist_ok=True)
            SimpleITK.WriteImage(image, str(tmp_path / kind / f"{number}.nii.gz"))
    convert(tmp_path, "--channels", "T1", "T2")
    assert dataset_json(folder)["channel_names"] == {"0": "T1", "1": "T2"}
    for k in range(2):
        voxels = SimpleITK.GetArrayFromImage(SimpleITK.ReadImage(str(folder / f"imagesTr/3_000{k}.nii.gz")))
        np.testing.assert_array_equal(voxels[0], image_of(3 + 10 * k))


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["rgb", "volumes"])
def test_nnunet_accepts_it(kind: str, own: Path, folder: Path, request: pytest.FixtureRequest) -> None:
    """nnU-Net's own check of a dataset, which takes a process of its own."""
    from nnunetv2.experiment_planning.verify_dataset_integrity import verify_dataset_integrity

    if kind == "rgb":
        for number, path in enumerate(sorted((own / "images").iterdir())):
            save(path, image_of(number, 3))
        convert(own, "--labels", "background=0", "cell=255")
    else:
        for number in range(6):
            for part, voxels in (("scans", image_of(number)), ("labels", TWO_CLASSES)):
                (own / part).mkdir(exist_ok=True)
                SimpleITK.WriteImage(volume(np.stack([voxels] * 4)), str(own / part / f"{number}.nrrd"))
        arguments = ["-i", str(own / "scans"), "-l", str(own / "labels"), "-d", "501", "-n", "Own"]
        main(["convert", "folder", *arguments, "--labels", "background=0", "a=1", "b=2", "-np", "1"])
    verify_dataset_integrity(str(folder), num_processes=1)
