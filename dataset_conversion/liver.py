"""liver: CT slices with liver masks, to nnU-Net's raw format.

The source is the folder of stevenazy/liver-dataset (the images of JavisPeng/u_net_liver, made of LiTS), or the folder
around it, with

    train/000.png train/000_mask.png ...  val/000.png val/000_mask.png ...

The images are windowed already, in three equal channels: they become one grey channel, and are no Hounsfield units.
The masks are 0 and 255, or 0 and 1. train/ goes to imagesTr and labelsTr, val/ to imagesTs and labelsTs: the paper
tested on val/. Which slices belong to one patient can't be told, so neighbouring slices may be in several folds.
"""

from __future__ import annotations

import argparse
import re
from functools import partial
from pathlib import Path

from nnunetv2.configuration import default_num_processes

from nnunet_pyconv.dataset_conversion import conversion
from nnunet_pyconv.dataset_conversion.cases import Case
from nnunet_pyconv.dataset_conversion.images import read_grey, read_mask
from nnunet_pyconv.dataset_conversion.raw_dataset import Dataset
from nnunet_pyconv.dataset_conversion.source_files import files_by_key, find_root, require_pairs
from nnunet_pyconv.errors import InputError

DATASET = Dataset(
    dataset_id=314,
    name="Liver",
    channel_name="windowed CT",
    file_ending=".png",
    description=(
        "Windowed CT slices of the abdomen with liver masks, out of LiTS. Patients can't be told apart: neighbouring "
        "slices may be in several folds."
    ),
    reference="Bilic et al. 2023, doi:10.1016/j.media.2022.102680; github.com/JavisPeng/u_net_liver",
    licence="not stated",
)
TRAIN, VAL = "train", "val"


def convert(
    source: Path,
    *,
    dataset_id: int = DATASET.dataset_id,
    protocol: str = "clean",
    num_processes: int = default_num_processes,
    overwrite: bool = False,
) -> Path:
    """Convert the dataset.

    Args:
        source: Folder with `train` and `val`, see the module's text.
        dataset_id: nnU-Net's dataset ID, 1 to 999.
        protocol: `clean` keeps val/ out of imagesTr. `paper` puts it there as well and writes splits_final.json, in
            which it validates fold 0: the paper chose its best epoch on its test set.
        num_processes: Cases written at a time.
        overwrite: Whether to replace the dataset folder if it exists.

    Returns:
        The dataset folder.

    Raises:
        InputError: A source or a target that can't be used; nothing is written then.
    """
    root = find_root(source, (TRAIN, VAL), "liver")
    return conversion.convert_cases(
        DATASET,
        source,
        find_cases(root / TRAIN),
        find_cases(root / VAL),
        foreground="liver",
        dataset_id=dataset_id,
        protocol=protocol,
        num_processes=num_processes,
        overwrite=overwrite,
    )


def find_cases(folder: Path) -> list[Case]:
    """Find the slices of `train` or `val`; they are read only when they are written.

    Returns:
        The cases by number.

    Raises:
        InputError: Images without mask or the reverse, other names, or numbers that stand twice.
    """
    images = files_by_key(folder, [".png"], partial(_number, is_mask=False), "image")
    masks = files_by_key(folder, [".png"], partial(_number, is_mask=True), "mask")
    require_pairs(images, masks)
    return [
        Case(
            f"liver_{folder.name}_{number:03d}",
            str(image),
            image=partial(read_grey, image),
            label=partial(read_mask, masks[number]),
        )
        for number, image in images.items()
    ]


def _number(path: Path, is_mask: bool) -> int | None:
    """The number of an image or of a mask; None for the other of the two."""
    name = re.fullmatch(r"(\d+)(_mask)?", path.stem)
    if name is None:
        raise InputError(f"{path} is neither image nor mask; expected files named 000.png and 000_mask.png, ...")
    return int(name.group(1)) if bool(name.group(2)) == is_mask else None


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the converter's arguments."""
    conversion.add_common_arguments(parser, DATASET, __doc__)


def run(args: argparse.Namespace) -> None:
    """Convert the dataset.

    Raises:
        InputError: As `convert`.
    """
    conversion.run_converter(convert, args)


if __name__ == "__main__":
    conversion.run_as_script(add_arguments, run)
