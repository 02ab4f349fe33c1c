"""ISBICell: the ISBI 2012 EM segmentation challenge, to nnU-Net's raw format.

The source is a folder with the challenge's three multi-page TIFFs,

    train-volume.tif  train-labels.tif  test-volume.tif

or with the same slices as PNGs (numbers need no leading zeros):

    train/image/0.png ...  train/label/0.png ...  test/image/0.png ...

Labels are 0 for membranes and 255 for cell interiors. Of the labelled slices, 80 % go to imagesTr and labelsTr and 20 %
to imagesTs and labelsTs: the paper's split, scikit-learn's train_test_split with random_state=41. The slices without
public labels go to imagesChallenge, which nnU-Net leaves alone.
"""

from __future__ import annotations

import argparse
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
from batchgenerators.utilities.file_and_folder_operations import save_json
from nnunetv2.configuration import default_num_processes
from numpy.typing import NDArray
from sklearn.model_selection import train_test_split

from nnunet_pyconv.dataset_conversion.images import Array, read_image, to_grey, to_mask
from nnunet_pyconv.dataset_conversion.raw_dataset import (
    Case,
    dataset_folder,
    preprocessed_before,
    write_cases,
    write_dataset_json,
)
from nnunet_pyconv.errors import InputError, run_command
from nnunet_pyconv.whole_folder import whole_folder

DATASET_ID = 312
NAME = "ISBICell"
FILE_ENDING = ".png"

TRAIN_VOLUME, TRAIN_LABELS, TEST_VOLUME = "train-volume.tif", "train-labels.tif", "test-volume.tif"
TRAIN_IMAGE, TRAIN_LABEL, TEST_IMAGE = Path("train/image"), Path("train/label"), Path("test/image")

# nnU-Net makes five folds of imagesTr, and a fifth of all slices is set aside before.
MIN_LABELLED = 7


def convert(
    source: Path,
    *,
    dataset_id: int = DATASET_ID,
    foreground: str = "cell",
    protocol: str = "clean",
    num_processes: int = default_num_processes,
    overwrite: bool = False,
) -> Path:
    """Convert the dataset.

    Args:
        source: Folder with the TIFFs or the PNGs, see the module's text.
        dataset_id: nnU-Net's dataset ID, 1 to 999.
        foreground: Which class is label 1: `cell` (interiors, as in the paper) or `membrane`.
        protocol: `clean` keeps the 20 % out of imagesTr. `paper` puts them there as well and writes
            splits_final.json, in which they validate fold 0: the paper chose its best epoch on its test set.
        num_processes: Cases written at a time.
        overwrite: Whether to replace the dataset folder if it exists.

    Returns:
        The dataset folder.

    Raises:
        InputError: A source or a target that can't be used; nothing is written then.
    """
    labelled, unlabelled = find_cases(source, foreground)
    target = dataset_folder(dataset_id, NAME, source=source, overwrite=overwrite)
    if len(labelled) < MIN_LABELLED:
        raise InputError(
            f"{source} has {len(labelled)} labelled slices; expected at least {MIN_LABELLED} (the dataset has 30): "
            "a fifth is set aside for the test, and nnU-Net makes five folds of the rest"
        )
    train, test = train_test_split(labelled, test_size=0.2, random_state=41)
    train, test = (sorted(cases, key=lambda case: case.name) for cases in (train, test))
    training_folder = train if protocol == "clean" else labelled

    with whole_folder(target) as folder:
        for cases, images, labels in (
            (training_folder, "imagesTr", "labelsTr"),
            (test, "imagesTs", "labelsTs"),
            (unlabelled, "imagesChallenge", None),
        ):
            if cases:
                write_cases(
                    folder, cases, images=images, labels=labels, file_ending=FILE_ENDING, num_processes=num_processes
                )
        if protocol == "paper":
            split = {"train": [case.name for case in train], "val": [case.name for case in test]}
            save_json([split], str(folder / "splits_final.json"), sort_keys=False)
        write_dataset_json(
            folder,
            channel_name="EM",
            labels={"background": 0, foreground: 1},
            num_training=len(training_folder),
            file_ending=FILE_ENDING,
            description=(
                "Serial section transmission electron microscopy of the Drosophila first instar larva ventral nerve "
                f"cord, slices of 4 x 4 nm pixels, 50 nm apart. Protocol: {protocol}."
            ),
            reference="Arganda-Carreras et al. 2015, doi:10.3389/fnana.2015.00142; Cardona et al. 2010",
            licence="not stated; for research, see the challenge",
        )
    return target


def find_cases(source: Path, foreground: str = "cell") -> tuple[list[Case], list[Case]]:
    """Find the slices; PNGs are read only when they are written.

    Args:
        source: Folder with the TIFFs or the PNGs, see the module's text.
        foreground: Which class is label 1: `cell` or `membrane`.

    Returns:
        The labelled and the unlabelled cases, by number.

    Raises:
        InputError: No such folder, neither layout, images without label or the reverse, or numbers that stand twice.
    """
    if not source.is_dir():
        what = "is a file" if source.exists() else "does not exist"
        raise InputError(f"source {source} {what}; give the folder of the downloaded data with -i")
    if (source / TRAIN_VOLUME).is_file() or (source / TRAIN_LABELS).is_file():
        images, labels, unlabelled = _slices_of_tiffs(source)
    elif (source / TRAIN_IMAGE).is_dir() or (source / TRAIN_LABEL).is_dir():
        images, labels, unlabelled = _slices_of_pngs(source)
    else:
        raise InputError(
            f"{source} has neither {TRAIN_VOLUME} and {TRAIN_LABELS} nor the folders {TRAIN_IMAGE.as_posix()} and "
            f"{TRAIN_LABEL.as_posix()}; give the folder that holds the ISBI 2012 data with -i"
        )
    return (
        [_case(f"isbi_cell_{number:03d}", image, labels[number], foreground) for number, image in images.items()],
        [_case(f"isbi_cell_challenge_{number:03d}", image) for number, image in unlabelled.items()],
    )


@dataclass(frozen=True)
class _Slice:
    """One image or label and where it comes from, for messages."""

    source: str
    read: Callable[[], Array]


_Slices = dict[int, _Slice]


def _slices_of_tiffs(source: Path) -> tuple[_Slices, _Slices, _Slices]:
    images, labels = (_pages(source / name) for name in (TRAIN_VOLUME, TRAIN_LABELS))
    if len(images) != len(labels):
        raise InputError(
            f"{source / TRAIN_VOLUME} has {len(images)} pages and {source / TRAIN_LABELS} {len(labels)}; "
            "expected as many labels as images, check that both files are whole"
        )
    test = source / TEST_VOLUME
    return images, labels, _pages(test) if test.is_file() else {}


def _pages(path: Path) -> _Slices:
    volume = read_image(path)
    if volume.ndim == 2:  # a single page
        volume = volume[None]
    if volume.ndim != 3:
        raise InputError(f"{path} has shape {volume.shape}; expected a multi-page TIFF (pages, Y, X)")
    return {z: _Slice(f"page {z} of {path}", partial(volume.__getitem__, z)) for z in range(len(volume))}


def _slices_of_pngs(source: Path) -> tuple[_Slices, _Slices, _Slices]:
    images, labels = (_numbered_pngs(source / folder) for folder in (TRAIN_IMAGE, TRAIN_LABEL))
    for missing, have, what in (
        (images.keys() - labels.keys(), source / TRAIN_IMAGE, f"label in {source / TRAIN_LABEL}"),
        (labels.keys() - images.keys(), source / TRAIN_LABEL, f"image in {source / TRAIN_IMAGE}"),
    ):
        if missing:
            names = ", ".join(f"{number}.png" for number in sorted(missing))
            raise InputError(f"{names} in {have} has no {what}; expected the same numbers in both folders")
    test = source / TEST_IMAGE
    return images, labels, _numbered_pngs(test) if test.is_dir() else {}


def _numbered_pngs(folder: Path) -> _Slices:
    """The PNGs of a folder by number, in numerical order."""
    paths: dict[int, Path] = {}
    for path in sorted(folder.glob("[!.]*.png")):  # macOS leaves hidden companions such as ._3.png
        digits = re.search(r"(\d+)$", path.stem)
        if digits is None:
            raise InputError(f"{path} has no number; expected files named 0.png, 1.png, ...")
        number = int(digits.group(1))
        if number in paths:
            raise InputError(f"{paths[number]} and {path} both have the number {number}; remove the one too many")
        paths[number] = path
    if not paths:
        raise InputError(f"{folder} has no PNG; expected 0.png, 1.png, ...")
    return {number: _Slice(str(path), partial(read_image, path)) for number, path in sorted(paths.items())}


def _case(name: str, image: _Slice, label: _Slice | None = None, foreground: str = "cell") -> Case:
    def read_label(label: _Slice) -> NDArray[np.uint8]:
        cell = to_mask(label.read(), label.source)
        return (cell if foreground == "cell" else ~cell).astype(np.uint8)

    return Case(
        name,
        image.source,
        image=lambda: to_grey(image.read(), image.source),
        label=None if label is None else partial(read_label, label),
    )


def build_parser(prog: str | None = None) -> argparse.ArgumentParser:
    """The command line of this converter."""
    parser = argparse.ArgumentParser(
        prog=prog, description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "-i", dest="source", type=Path, required=True, metavar="SRC", help="folder of the ISBI 2012 data"
    )
    parser.add_argument(
        "-d", dest="dataset_id", type=int, default=DATASET_ID, metavar="ID", help="dataset ID (default: %(default)s)"
    )
    parser.add_argument(
        "-np",
        dest="num_processes",
        type=int,
        default=default_num_processes,
        metavar="N",
        help="cases written at a time (default: %(default)s)",
    )
    parser.add_argument(
        "--foreground",
        choices=("cell", "membrane"),
        default="cell",
        help="which class is label 1 (default: %(default)s, as in the paper)",
    )
    parser.add_argument(
        "--protocol",
        choices=("clean", "paper"),
        default="clean",
        help="clean: the 20 %% are test cases only; paper: they also validate fold 0, by splits_final.json "
        "(default: %(default)s)",
    )
    parser.add_argument("--overwrite", action="store_true", help="replace the dataset folder if it exists")
    return parser


def main(argv: Sequence[str] | None = None, prog: str | None = None) -> None:
    """Run the converter from the command line.

    Raises:
        InputError: As `convert`.
    """
    args = build_parser(prog).parse_args(argv)
    if args.num_processes < 1:
        raise InputError(f"-np {args.num_processes}: at least one case at a time has to be written")
    target = convert(**vars(args))
    print(f"Wrote {target}")
    if (earlier := preprocessed_before(target)) is not None:
        print(f"{earlier} was made from an earlier dataset of this name: remove it before you go on")
    print(f"Next: nnUNetv2_plan_and_preprocess -d {args.dataset_id} -c 2d --verify_dataset_integrity")


if __name__ == "__main__":
    run_command(main)
