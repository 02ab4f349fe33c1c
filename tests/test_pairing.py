"""Which label images belong to which image."""

from __future__ import annotations

from pathlib import Path

import pytest

from nnunet_pyconv.dataset_conversion.folder.pairing import pair_by_name
from nnunet_pyconv.errors import InputError


def touch(folder: Path, *names: str) -> Path:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).touch()
    return folder


def pairs(tmp_path: Path, images: list[str], labels: list[str]) -> dict[str, tuple[str, list[str]]]:
    image_folder, label_folder = touch(tmp_path / "i", *images), touch(tmp_path / "l", *labels)
    return {
        pair.name: (
            pair.image.relative_to(image_folder).as_posix(),
            [path.relative_to(label_folder).as_posix() for path in pair.labels],
        )
        for pair in pair_by_name(image_folder, label_folder).pairs
    }


@pytest.mark.parametrize(
    ("image", "label", "case"),
    [
        ("{}.png", "{}.png", "{}"),
        ("{}.jpg", "{}.png", "{}"),
        ("{}.png", "{}_mask.png", "{}"),
        ("{}.png", "{}_segmentation.png", "{}"),
        ("{}.png", "{}_GT.tif", "{}"),
        ("{}.png", "{}-label.png", "{}"),
        ("{}.png", "{} mask.png", "{}"),
        ("{}.png", "mask_{}.png", "{}"),
        ("{}.png", "label{}.png", "{}"),
        ("img_{}.png", "mask_{}.png", "img_{}"),
        ("{}_0000.nii.gz", "{}.nii.gz", "{}"),
        ("{}_training.tif", "{}_manual1.gif", "{}_training"),  # by what differs
        ("photo {} (x).png", "outline of {}.png", "photo {} (x)"),
        ("left/{}.png", "left/{}_mask.png", "left_{}"),
        ("{}.png", "{}/nucleus.png", "{}"),
        ("{0}/images/{0}.png", "{0}/masks/abc.png", "{0}"),
        ("._{}.png", "", ""),
    ],
)
def test_names(image: str, label: str, case: str, tmp_path: Path) -> None:
    keys = ["1", "2", "10", "11"]
    if not label:  # hidden files are no images
        with pytest.raises(InputError, match="has no images"):
            pairs(tmp_path, [image.format(key) for key in keys], ["1.png"])
        return
    assert pairs(tmp_path, [image.format(key) for key in keys], [label.format(key) for key in keys]) == {
        case.format(key): (image.format(key), [label.format(key)]) for key in keys
    }


def test_several_label_images(tmp_path: Path) -> None:
    found = pairs(tmp_path, ["a.png", "b.png"], ["a_mask.png", "a_mask_1.png", "b_mask1.png", "b/x.png"])
    assert found == {"a": ("a.png", ["a_mask.png", "a_mask_1.png"]), "b": ("b.png", ["b_mask1.png", "b/x.png"])}


def test_one_folder_of_both(tmp_path: Path) -> None:
    names = ["benign (1).png", "benign (1)_mask.png", "benign (1)_mask_1.png", "benign (2).png", "benign (2)_mask.png"]
    found = pair_by_name(touch(tmp_path, *names), tmp_path)
    assert {pair.name: [path.name for path in pair.labels] for pair in found.pairs} == {
        "benign (1)": ["benign (1)_mask.png", "benign (1)_mask_1.png"],
        "benign (2)": ["benign (2)_mask.png"],
    }
    assert "'_mask' (2), '_mask_N' (1)" in found.remarks[0]


def test_one_folder_without_words_for_labels(tmp_path: Path) -> None:
    touch(tmp_path, "1.png", "2.png")
    with pytest.raises(InputError, match="are one folder, and no name in it has a word such as _mask"):
        pair_by_name(tmp_path, tmp_path)


@pytest.mark.parametrize(
    ("images", "labels", "message"),
    [
        (["1.png", "2.png"], ["1.png"], r"2\.png in .*i without a label image"),
        (["1.png"], ["1.png", "2.png"], r"2\.png in .*l without an image"),
        # the mask of 1_2 doesn't go to 1
        (["1.png", "2.png"], ["1.png", "2.png", "1_2_mask.png"], r"1_2_mask\.png in .*l without an image"),
        (["1.png", "1.tif"], ["1.png"], "have one name"),
        (["a/1.png", "a_1.png"], ["a/1.png", "a_1.png"], "both become the case a_1"),
        (["x1.png", "x2.png", "x3.png"], ["1y.png", "2y.png", "4y.png"], r"x1\.png, x2\.png, x3\.png in"),
    ],
)
def test_what_has_no_partner(images: list[str], labels: list[str], message: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=message):
        pairs(tmp_path, images, labels)
