from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import skimage.io as io
import tifffile
from conftest import NnunetFolders
from pictures import read_all
from waiting import wait_until

from nnunet_pyconv.cli import main
from nnunet_pyconv.dataset_conversion import conversion, isbi_cell, write
from nnunet_pyconv.errors import InputError

NAME = "Dataset312_ISBICell"


def convert(source: Path, **arguments: object) -> Path:
    return conversion.convert(isbi_cell, source, num_processes=2, **arguments)  # type: ignore[arg-type]


@pytest.mark.parametrize("layout", ["isbi_tiffs", "isbi_pngs"])
def test_converts_both_layouts_alike(
    layout: str, request: pytest.FixtureRequest, nnunet_folders: NnunetFolders
) -> None:
    source = request.getfixturevalue(layout)
    folder = convert(source)
    assert folder == nnunet_folders.raw / NAME
    images, labels = read_all(folder / "imagesTr"), read_all(folder / "labelsTr")
    tests, test_labels = read_all(folder / "imagesTs"), read_all(folder / "labelsTs")
    challenge = read_all(folder / "imagesChallenge")
    assert (len(images), len(labels), len(tests), len(test_labels), len(challenge)) == (8, 8, 2, 2, 2)
    assert {name.replace("_0000", "") for name in images} == labels.keys()
    assert not images.keys() & tests.keys()

    volume = tifffile.imread(request.getfixturevalue("isbi_tiffs") / "train-volume.tif")
    truth = tifffile.imread(request.getfixturevalue("isbi_tiffs") / "train-labels.tif")
    for name, label in (labels | test_labels).items():
        number = int(re.findall(r"\d+", name)[0])
        np.testing.assert_array_equal((images | tests)[name.replace(".png", "_0000.png")], volume[number])
        np.testing.assert_array_equal(label, truth[number] // 255)

    dataset_json = json.loads((folder / "dataset.json").read_text())
    assert dataset_json["labels"] == {"background": 0, "cell": 1}
    assert dataset_json["channel_names"] == {"0": "EM"}
    assert (dataset_json["numTraining"], dataset_json["file_ending"]) == (8, ".png")


def test_membrane_as_foreground(isbi_tiffs: Path, nnunet_folders: NnunetFolders) -> None:
    cell = read_all(convert(isbi_tiffs) / "labelsTr")
    folder = convert(isbi_tiffs, foreground="membrane", overwrite=True)
    for name, label in read_all(folder / "labelsTr").items():
        np.testing.assert_array_equal(label, 1 - cell[name])
    assert json.loads((folder / "dataset.json").read_text())["labels"] == {"background": 0, "membrane": 1}


def test_protocol_of_the_paper(isbi_tiffs: Path, nnunet_folders: NnunetFolders) -> None:
    folder = convert(isbi_tiffs, protocol="paper")
    (split,) = json.loads((folder / "splits_final.json").read_text())
    assert len(split["train"]) == 8
    assert split["val"] == [name.removesuffix(".png") for name in read_all(folder / "labelsTs")]
    assert sorted(split["train"] + split["val"]) == [
        name.removesuffix(".png") for name in read_all(folder / "labelsTr")
    ]


def test_split_of_the_real_size(tmp_path: Path, nnunet_folders: NnunetFolders) -> None:
    """The 20 % of 30 slices that scikit-learn's train_test_split(random_state=41) sets aside."""
    pages = np.repeat(np.arange(30, dtype=np.uint8)[:, None, None], 4, axis=1).repeat(4, axis=2)
    for name, volume in (("train-volume.tif", pages), ("train-labels.tif", np.zeros_like(pages))):
        tifffile.imwrite(tmp_path / name, volume, photometric="minisblack")
    test = read_all(convert(tmp_path) / "imagesTs")
    assert [int(image[0, 0]) for image in test.values()] == [5, 10, 11, 20, 26, 29]


def test_labels_of_0_and_1_and_grey_stored_as_colour(isbi_pngs: Path, nnunet_folders: NnunetFolders) -> None:
    expected = read_all(convert(isbi_pngs) / "labelsTr")
    for path in (isbi_pngs / "train/label").iterdir():
        io.imsave(path, io.imread(path) // 255, check_contrast=False)
    for path in (isbi_pngs / "train/image").iterdir():
        io.imsave(path, np.repeat(io.imread(path)[..., None], 3, axis=-1), check_contrast=False)
    folder = convert(isbi_pngs, overwrite=True)
    for name, label in read_all(folder / "labelsTr").items():
        np.testing.assert_array_equal(label, expected[name])
    assert {image.ndim for image in read_all(folder / "imagesTr").values()} == {2}


def without_label(source: Path) -> None:
    (source / "train/label/3.png").unlink()


def without_image(source: Path) -> None:
    (source / "train/image/4.png").unlink()


def other_size(source: Path) -> None:
    io.imsave(source / "train/label/2.png", np.zeros((16, 32), np.uint8), check_contrast=False)


def three_values(source: Path) -> None:
    io.imsave(source / "train/label/2.png", np.full((32, 32), 7, np.uint8), check_contrast=False)


def antialiased(source: Path) -> None:
    label = np.zeros((32, 32), np.uint8)
    label[10:], label[9] = 255, 131
    io.imsave(source / "train/label/2.png", label, check_contrast=False)


def truncated(source: Path) -> None:
    file = source / "train/image/1.png"
    file.write_bytes(file.read_bytes()[:300])


def coloured(source: Path) -> None:
    image = np.zeros((32, 32, 3), np.uint8)
    image[..., 0] = 9
    io.imsave(source / "train/image/1.png", image, check_contrast=False)


def no_number(source: Path) -> None:
    (source / "train/image/1.png").rename(source / "train/image/one.png")


def no_pngs(source: Path) -> None:
    for path in (source / "train/image").iterdir():
        path.unlink()


def no_labels(source: Path) -> None:
    shutil.rmtree(source / "train/label")


def too_few(source: Path) -> None:
    for number in range(6, 10):
        (source / f"train/image/{number}.png").unlink()
        (source / f"train/label/{number}.png").unlink()


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (without_label, r"3\.png in .*image has no label"),
        (without_image, r"4\.png in .*label has no image"),
        (other_size, "image has 32 x 32 pixels and its label 16 x 32"),
        (three_values, r"has 1 value \(7\); expected two, 0 and 255"),
        (antialiased, r"has 3 values \(0, 131, 255\).*antialiasing.*threshold the label at 128"),
        (truncated, r"can't read .*1\.png.*truncated, copy it again"),
        (coloured, r"1\.png is a colour image"),
        (no_number, r"one\.png has no number"),
        (no_pngs, r"train/image has no slice \(\*\.png, "),
        (no_labels, r"train/label does not exist; expected a folder of this dataset"),
        (too_few, r"6 labelled slices, 2 of them for the test; expected at least 5 others"),
    ],
    ids=lambda value: getattr(value, "__name__", None),
)
def test_bad_pngs(damage: object, message: str, isbi_pngs: Path, nnunet_folders: NnunetFolders) -> None:
    damage(isbi_pngs)  # type: ignore[operator]
    with pytest.raises(InputError, match=message):
        convert(isbi_pngs)
    assert list(nnunet_folders.raw.iterdir()) == []


def test_page_counts_that_differ(isbi_tiffs: Path, nnunet_folders: NnunetFolders) -> None:
    labels = tifffile.imread(isbi_tiffs / "train-labels.tif")
    tifffile.imwrite(isbi_tiffs / "train-labels.tif", labels[:9])
    with pytest.raises(InputError, match=r"has 10 pages and .*train-labels\.tif 9"):
        convert(isbi_tiffs)
    assert list(nnunet_folders.raw.iterdir()) == []


@pytest.mark.parametrize("kept", [0.1, 0.5, 0.9])
def test_truncated_tiff(kept: float, isbi_tiffs: Path, nnunet_folders: NnunetFolders) -> None:
    file = isbi_tiffs / "train-volume.tif"
    content = file.read_bytes()
    file.write_bytes(content[: int(len(content) * kept)])
    with pytest.raises(InputError, match=r"train-volume\.tif"):
        convert(isbi_tiffs)
    assert list(nnunet_folders.raw.iterdir()) == []


def test_three_pages_are_not_colours(isbi_tiffs: Path, nnunet_folders: NnunetFolders) -> None:
    test = tifffile.imread(isbi_tiffs / "train-volume.tif")[:3]
    tifffile.imwrite(isbi_tiffs / "test-volume.tif", test, photometric="minisblack")
    challenge = read_all(convert(isbi_tiffs) / "imagesChallenge")
    np.testing.assert_array_equal(np.stack(list(challenge.values())), test)


@pytest.mark.parametrize("missing", ["train-volume.tif", "train-labels.tif"])
def test_missing_tiff(missing: str, isbi_tiffs: Path, nnunet_folders: NnunetFolders) -> None:
    (isbi_tiffs / missing).unlink()
    with pytest.raises(InputError, match=missing):
        convert(isbi_tiffs)


def test_source_that_is_not_there_or_empty(tmp_path: Path, nnunet_folders: NnunetFolders) -> None:
    with pytest.raises(InputError, match=r"nowhere does not exist; give the folder"):
        convert(tmp_path / "nowhere")
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match=r"empty has neither train-volume\.tif and train-labels\.tif nor the folders"):
        convert(tmp_path / "empty")


def test_target_that_exists(isbi_tiffs: Path, nnunet_folders: NnunetFolders) -> None:
    folder = convert(isbi_tiffs)
    (folder / "mine.txt").touch()
    with pytest.raises(InputError, match="exists already; replace it with --overwrite, or choose"):
        convert(isbi_tiffs)
    assert (folder / "mine.txt").exists()
    convert(isbi_tiffs, overwrite=True)
    assert not (folder / "mine.txt").exists()
    assert [path.name for path in nnunet_folders.raw.iterdir()] == [NAME]


@pytest.mark.parametrize("where", ["raw", "preprocessed", "results"])
def test_id_taken_under_another_name(where: str, isbi_tiffs: Path, nnunet_folders: NnunetFolders) -> None:
    (getattr(nnunet_folders, where) / "Dataset312_Liver").mkdir()
    with pytest.raises(InputError, match="dataset ID 312 is taken by Dataset312_Liver"):
        convert(isbi_tiffs, overwrite=True)


@pytest.mark.parametrize("dataset_id", [0, 1000])
def test_id_out_of_range(dataset_id: int, isbi_tiffs: Path, nnunet_folders: NnunetFolders) -> None:
    with pytest.raises(InputError, match=f"dataset ID {dataset_id} is not between"):
        convert(isbi_tiffs, dataset_id=dataset_id)


def test_raw_folder_unset(isbi_tiffs: Path, nnunet_folders: NnunetFolders, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("nnUNet_raw")
    with pytest.raises(InputError, match="nnUNet_raw is not set.*export nnUNet_raw="):
        convert(isbi_tiffs)


@pytest.mark.parametrize("overwrite", [False, True])
def test_interrupt_leaves_things_as_they_were(
    overwrite: bool, isbi_tiffs: Path, nnunet_folders: NnunetFolders, monkeypatch: pytest.MonkeyPatch
) -> None:
    if overwrite:
        (convert(isbi_tiffs) / "mine.txt").touch()
    before = sorted(nnunet_folders.raw.rglob("*"))

    def interrupt(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(write, "require_same_size", interrupt)
    with pytest.raises(KeyboardInterrupt):
        convert(isbi_tiffs, overwrite=overwrite)
    assert sorted(nnunet_folders.raw.rglob("*")) == before


@pytest.mark.slow
@pytest.mark.skipif(os.name != "posix", reason="signals")
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT], ids=["terminated", "interrupted"])
def test_signal_leaves_no_folder(number: int, tmp_path: Path, nnunet_folders: NnunetFolders) -> None:
    (tmp_path / "train/image").mkdir(parents=True)
    (tmp_path / "train/label").mkdir()
    image = np.zeros((64, 64), np.uint8)
    for z in range(600):
        io.imsave(tmp_path / f"train/image/{z}.png", image, check_contrast=False)
        io.imsave(tmp_path / f"train/label/{z}.png", image, check_contrast=False)
    # a pipe instead of the last label: the conversion can't end by itself
    (tmp_path / "train/label/599.png").unlink()
    os.mkfifo(tmp_path / "train/label/599.png")
    process = subprocess.Popen(
        [sys.executable, "-m", "nnunet_pyconv", "convert", "isbi_cell", "-i", str(tmp_path), "-np", "2"],
        cwd=Path.home(),
        stderr=subprocess.DEVNULL,
    )
    written = partial(nnunet_folders.raw.glob, ".Dataset*/new/labelsT*/*.png")
    wait_until(lambda: process.poll() is not None or list(written()))
    assert process.poll() is None
    process.send_signal(number)
    # lets a thread that reads the pipe end; does not block where none does
    os.close(os.open(tmp_path / "train/label/599.png", os.O_RDWR | os.O_NONBLOCK))
    assert process.wait(timeout=60) == 128 + number
    assert list(nnunet_folders.raw.iterdir()) == []


def test_source_inside_the_target(isbi_tiffs: Path, nnunet_folders: NnunetFolders) -> None:
    target = nnunet_folders.raw / NAME
    isbi_tiffs.rename(target)
    with pytest.raises(InputError, match="lies in .*the folder to be written; move it elsewhere"):
        convert(target, overwrite=True)
    assert (target / "train-volume.tif").is_file()


def test_pages_of_several_sizes(isbi_tiffs: Path, nnunet_folders: NnunetFolders) -> None:
    with tifffile.TiffWriter(isbi_tiffs / "train-volume.tif") as file:
        for z in range(10):
            file.write(np.zeros((16 if z == 4 else 32, 32), np.uint8))
    with pytest.raises(InputError, match=r"pages of several sizes or types \(16 x 32 uint8, 32 x 32 uint8\)"):
        convert(isbi_tiffs)


def test_number_that_stands_twice(isbi_pngs: Path, nnunet_folders: NnunetFolders) -> None:
    io.imsave(isbi_pngs / "train/image/03.png", np.zeros((32, 32), np.uint8), check_contrast=False)
    with pytest.raises(InputError, match=r"03\.png and .*3\.png both have the number 3"):
        convert(isbi_pngs)


def test_hidden_companions_are_passed_over(isbi_pngs: Path, nnunet_folders: NnunetFolders) -> None:
    (isbi_pngs / "train/image/._3.png").write_bytes(b"resource fork")
    assert len(read_all(convert(isbi_pngs) / "imagesTr")) == 8


def test_type_that_png_cannot_hold(isbi_tiffs: Path, nnunet_folders: NnunetFolders) -> None:
    volume = tifffile.imread(isbi_tiffs / "train-volume.tif").astype(np.float32)
    tifffile.imwrite(isbi_tiffs / "train-volume.tif", volume, photometric="minisblack")
    with pytest.raises(InputError, match="pixels of type float32; expected 8 or 16 bits"):
        convert(isbi_tiffs)


def test_messages_name_the_label(isbi_pngs: Path, nnunet_folders: NnunetFolders) -> None:
    io.imsave(isbi_pngs / "train/label/2.png", np.full((32, 32), 7, np.uint8), check_contrast=False)
    with pytest.raises(InputError, match=r"train.label.2\.png has 1 value "):
        convert(isbi_pngs)


def test_command(isbi_pngs: Path, nnunet_folders: NnunetFolders, capsys: pytest.CaptureFixture[str]) -> None:
    command = ["convert", "isbi_cell", "-i", str(isbi_pngs), "-d", "7", "-np", "2", "--foreground", "membrane"]
    main(command)
    folder = nnunet_folders.raw / "Dataset007_ISBICell"
    assert json.loads((folder / "dataset.json").read_text())["labels"] == {"background": 0, "membrane": 1}
    out = capsys.readouterr().out
    assert "imagesTr: 8 cases; 32 x 32; uint8" in out
    assert f"Look at {folder / 'preview.png'}" in out
    assert "Next: nnUNetv2_plan_and_preprocess -d 7 -c 2d --verify_dataset_integrity" in out
    with pytest.raises(SystemExit) as exit_:
        main(command)
    assert exit_.value.code == 2
    assert "exists already" in capsys.readouterr().err
