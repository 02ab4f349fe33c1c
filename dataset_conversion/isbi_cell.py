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
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
from nnunetv2.configuration import default_num_processes

from nnunet_pyconv.dataset_conversion import conversion
from nnunet_pyconv.dataset_conversion.cases import Case, Label
from nnunet_pyconv.dataset_conversion.images import Array, read_image, to_grey, to_mask
from nnunet_pyconv.dataset_conversion.raw_dataset import Dataset
from nnunet_pyconv.dataset_conversion.source_files import files_by_key, require_folder, require_pairs
from nnunet_pyconv.errors import InputError

DATASET = Dataset(
    dataset_id=312,
    name="ISBICell",
    channel_name="EM",
    file_ending=".png",
    description=(
        "Serial section transmission electron microscopy of the Drosophila first instar larva ventral nerve cord, "
        "slices of 4 x 4 nm pixels, 50 nm apart."
    ),
    reference="Arganda-Carreras et al. 2015, doi:10.3389/fnana.2015.00142; Cardona et al. 2010",
    licence="not stated; for research, see the challenge",
)

TRAIN_VOLUME, TRAIN_LABELS, TEST_VOLUME = "train-volume.tif", "train-labels.tif", "test-volume.tif"
TRAIN_IMAGE, TRAIN_LABEL, TEST_IMAGE = Path("train/image"), Path("train/label"), Path("test/image")


def convert(
    source: Path,
    *,
    dataset_id: int = DATASET.dataset_id,
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
    train, test = conversion.split_of_the_paper(labelled)
    return conversion.convert_cases(
        DATASET,
        source,
        train,
        test,
        unlabelled=unlabelled,
        foreground=foreground,
        dataset_id=dataset_id,
        protocol=protocol,
        num_processes=num_processes,
        overwrite=overwrite,
    )


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
    require_folder(source)
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
    require_pairs(images, labels)
    test = source / TEST_IMAGE
    return _slices(images), _slices(labels), _slices(_numbered_pngs(test)) if test.is_dir() else {}


def _numbered_pngs(folder: Path) -> dict[int, Path]:
    """The PNGs of a folder by number, in numerical order."""
    return files_by_key(folder, [".png"], _number, "slice")


def _number(path: Path) -> int:
    digits = re.search(r"(\d+)$", path.stem)
    if digits is None:
        raise InputError(f"{path} has no number; expected files named 0.png, 1.png, ...")
    return int(digits.group(1))


def _slices(paths: dict[int, Path]) -> _Slices:
    return {number: _Slice(str(path), partial(read_image, path)) for number, path in paths.items()}


def _case(name: str, image: _Slice, label: _Slice | None = None, foreground: str = "cell") -> Case:
    def read_label(label: _Slice) -> Label:
        cell = to_mask(label.read(), label.source)
        return (cell if foreground == "cell" else ~cell).astype(np.uint8)

    return Case(
        name,
        image.source,
        image=lambda: to_grey(image.read(), image.source),
        label=None if label is None else partial(read_label, label),
    )


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the converter's arguments."""
    conversion.add_common_arguments(parser, DATASET, __doc__)
    parser.add_argument(
        "--foreground",
        choices=("cell", "membrane"),
        default="cell",
        help="which class is label 1 (default: %(default)s, as in the paper)",
    )


def run(args: argparse.Namespace) -> None:
    """Convert the dataset.

    Raises:
        InputError: As `convert`.
    """
    conversion.run_converter(convert, args, foreground=args.foreground)


if __name__ == "__main__":
    conversion.run_as_script(add_arguments, run)
