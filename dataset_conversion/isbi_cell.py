"""ISBICell: the ISBI 2012 EM segmentation challenge, to nnU-Net's raw format.

The source is a folder, or the folder around it, with the challenge's three multi-page TIFFs,

    train-volume.tif  train-labels.tif  test-volume.tif

or with the same slices as single images (numbers need no leading zeros):

    train/image/0.png ...  train/label/0.png ...  test/image/0.png ...

Labels are 0 for membranes and 255 for cell interiors. Of the labelled slices, 80 % go to imagesTr and labelsTr and 20 %
to imagesTs and labelsTs: the paper's split, scikit-learn's train_test_split with random_state=41. The slices without
public labels go to imagesChallenge, which nnU-Net leaves alone.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from nnunet_pyconv.dataset_conversion.cases import Case, CaseData, FoundCases
from nnunet_pyconv.dataset_conversion.description import DatasetDescription
from nnunet_pyconv.dataset_conversion.reading import Array, Mask, read_grey, read_mask, read_stack, to_mask
from nnunet_pyconv.dataset_conversion.source_files import files_by_key, find_root, is_hidden, require_pairs
from nnunet_pyconv.errors import InputError

DESCRIPTION = DatasetDescription(
    dataset_id=312,
    name="ISBICell",
    channel="EM",
    foreground="cell",
    complement="membrane",
    file_ending=".png",
    text=(
        "Serial section transmission electron microscopy of the Drosophila first instar larva ventral nerve cord, "
        "slices of 4 x 4 nm pixels, 50 nm apart."
    ),
    reference="Arganda-Carreras et al. 2015, doi:10.3389/fnana.2015.00142; Cardona et al. 2010",
    licence="not stated; for research, see the challenge",
)

VOLUMES = TRAIN_VOLUME, TRAIN_LABELS, TEST_VOLUME = "train-volume", "train-labels", "test-volume"
TRAIN_IMAGE, TRAIN_LABEL, TEST_IMAGE = Path("train/image"), Path("train/label"), Path("test/image")


@dataclass(frozen=True)
class _Slice:
    """One image and where it comes from, for messages."""

    source: str
    read: Callable[[], Array]


@dataclass(frozen=True)
class _Slices:
    """The slices of the challenge by their numbers."""

    images: dict[int, _Slice]
    masks: dict[int, Callable[[], Mask]]
    unlabelled: dict[int, _Slice]


def find_cases(source: Path) -> FoundCases:
    """Find the slices; single images are read only when they are written.

    Args:
        source: Folder with the TIFFs or the single images, see the module's text.

    Returns:
        The labelled and the unlabelled cases, by number; label 1 is the cell interior.

    Raises:
        InputError: No such folder, neither layout, images without label or the reverse, or numbers that stand twice.
    """
    root = find_root(
        source,
        lambda folder: bool(_volumes(folder).keys() & {TRAIN_VOLUME, TRAIN_LABELS}) or _has_single_images(folder),
        f"neither {TRAIN_VOLUME}.tif and {TRAIN_LABELS}.tif nor the folders {TRAIN_IMAGE.as_posix()} and "
        f"{TRAIN_LABEL.as_posix()}",
        "ISBI 2012",
    )
    slices = _single_images(root) if _has_single_images(root) else _pages_of_volumes(root)
    return FoundCases(
        labelled=[
            Case(f"isbi_cell_{number:03d}", image.source, partial(_read_labelled, image, slices.masks[number]))
            for number, image in slices.images.items()
        ],
        unlabelled=[
            Case(f"isbi_cell_challenge_{number:03d}", image.source, partial(_read_unlabelled, image))
            for number, image in slices.unlabelled.items()
        ],
    )


def _read_labelled(image: _Slice, read_its_mask: Callable[[], Mask]) -> CaseData:
    return CaseData.of_mask(image.read(), read_its_mask())


def _read_unlabelled(image: _Slice) -> CaseData:
    return CaseData((image.read(),))


def _volumes(folder: Path) -> dict[str, Path]:
    """Find the challenge's TIFFs by their names in small letters without ending."""
    volumes: dict[str, Path] = {}
    for path in sorted(folder.iterdir()):
        name = path.stem.lower()
        if path.suffix.lower() in (".tif", ".tiff") and name in VOLUMES and not is_hidden(path):
            if name in volumes:
                raise InputError(f"{volumes[name]} and {path} have one name; remove the one too many")
            volumes[name] = path
    return volumes


def _has_single_images(folder: Path) -> bool:
    return (folder / TRAIN_IMAGE).is_dir() or (folder / TRAIN_LABEL).is_dir()


def _pages_of_volumes(root: Path) -> _Slices:
    volumes = _volumes(root)
    for name in (TRAIN_VOLUME, TRAIN_LABELS):
        if name not in volumes:
            raise InputError(f"{root} has no {name}.tif; expected both {TRAIN_VOLUME}.tif and {TRAIN_LABELS}.tif")
    images, labels = read_stack(volumes[TRAIN_VOLUME]), read_stack(volumes[TRAIN_LABELS])
    if len(images) != len(labels):
        raise InputError(
            f"{volumes[TRAIN_VOLUME]} has {len(images)} pages and {volumes[TRAIN_LABELS]} {len(labels)}; "
            "expected as many labels as images, check that both files are whole"
        )
    return _Slices(
        _pages(images, volumes[TRAIN_VOLUME]),
        {z: partial(to_mask, page, f"page {z} of {volumes[TRAIN_LABELS]}") for z, page in enumerate(labels)},
        _pages(read_stack(volumes[TEST_VOLUME]), volumes[TEST_VOLUME]) if TEST_VOLUME in volumes else {},
    )


def _pages(stack: Array, path: Path) -> dict[int, _Slice]:
    return {z: _Slice(f"page {z} of {path}", partial(stack.__getitem__, z)) for z in range(len(stack))}


def _single_images(root: Path) -> _Slices:
    images, labels = (files_by_key(root / folder, _number, "slice") for folder in (TRAIN_IMAGE, TRAIN_LABEL))
    require_pairs(images, labels)
    test = files_by_key(root / TEST_IMAGE, _number, "slice") if (root / TEST_IMAGE).is_dir() else {}
    return _Slices(
        {number: _Slice(str(path), partial(read_grey, path)) for number, path in images.items()},
        {number: partial(read_mask, path) for number, path in labels.items()},
        {number: _Slice(str(path), partial(read_grey, path)) for number, path in test.items()},
    )


def _number(path: Path) -> int:
    digits = re.search(r"(\d+)$", path.stem)
    if digits is None:
        raise InputError(f"{path} has no number; expected files named 0.png, 1.png, ...")
    return int(digits.group(1))
