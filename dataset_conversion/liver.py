"""liver: CT slices with liver masks, to nnU-Net's raw format.

The source is the folder of stevenazy/liver-dataset (the images of JavisPeng/u_net_liver, made of LiTS), or the folder
around it, with

    train/000.png train/000_mask.png ...  val/000.png val/000_mask.png ...

The images are windowed already, in three equal channels: they become one grey channel, and are no Hounsfield units.
The masks are 0 and 255, or 0 and 1. train/ goes to imagesTr and labelsTr, val/ to imagesTs and labelsTs: the paper
tested on val/. Which slices belong to one patient can't be told, so neighbouring slices may be in several folds.
"""

from __future__ import annotations

import re
from functools import partial
from pathlib import Path

from nnunet_pyconv.dataset_conversion.cases import Case, CaseData, FoundCases
from nnunet_pyconv.dataset_conversion.description import DatasetDescription
from nnunet_pyconv.dataset_conversion.reading import read_grey, read_mask
from nnunet_pyconv.dataset_conversion.source_files import files_by_key, find_root, inner_folder, require_pairs
from nnunet_pyconv.errors import InputError

DESCRIPTION = DatasetDescription(
    dataset_id=314,
    name="Liver",
    channel="windowed CT",
    foreground="liver",
    file_ending=".png",
    text=(
        "Windowed CT slices of the abdomen with liver masks, out of LiTS. Patients can't be told apart: neighbouring "
        "slices may be in several folds."
    ),
    reference="Bilic et al. 2023, doi:10.1016/j.media.2022.102680; github.com/JavisPeng/u_net_liver",
    licence="not stated",
)
TRAIN, VAL = "train", "val"


def find_cases(source: Path) -> FoundCases:
    """Find the slices; they are read only when they are written.

    Args:
        source: Folder with `train` and `val`, see the module's text.

    Returns:
        The cases of `train` and, as test set, those of `val`, by number.

    Raises:
        InputError: Images without mask or the reverse, other names, or numbers that stand twice.
    """
    root = find_root(
        source,
        lambda folder: all((folder / name).is_dir() for name in (TRAIN, VAL)),
        f"no folder {TRAIN} and {VAL}",
        "liver",
    )
    return FoundCases(labelled=_cases(inner_folder(root / TRAIN)), test=_cases(inner_folder(root / VAL)))


def _cases(folder: Path) -> list[Case]:
    images = files_by_key(folder, partial(_number, is_mask=False), "image")
    masks = files_by_key(folder, partial(_number, is_mask=True), "mask")
    require_pairs(images, masks)
    return [
        Case(f"liver_{folder.name}_{number:03d}", str(image), partial(_read, image, masks[number]))
        for number, image in images.items()
    ]


def _read(image: Path, mask: Path) -> CaseData:
    return CaseData.of_mask(read_grey(image), read_mask(mask))


def _number(path: Path, is_mask: bool) -> int | None:
    """Return the number of an image or of a mask; None for the other of the two."""
    name = re.fullmatch(r"(\d+)(_mask)?", path.stem, re.IGNORECASE)
    if name is None:
        raise InputError(f"{path} is neither image nor mask; expected files named 000.png and 000_mask.png, ...")
    return int(name.group(1)) if bool(name.group(2)) == is_mask else None
