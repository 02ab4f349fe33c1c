"""kaggleLung: CT slices with lung masks, to nnU-Net's raw format.

The source is the folder of "Finding and Measuring Lungs in CT Data" (Kaggle, kmader), or the folder around it, with
the same names in

    2d_images/ID_0000_Z_0142.tif ...  2d_masks/ID_0000_Z_0142.tif ...

The pixels are Hounsfield units, as signed 16- or 32-bit integers, as floating-point numbers, or as unsigned 16-bit
integers that hold wrapped negatives; they are kept as they are and written as TIFF. Copies that were reduced to 8 bits
have lost them: if all are, they are converted with a warning. The masks are 0 and 255, or 0 and 1.

Of the slices, 80 % go to imagesTr and labelsTr and 20 % to imagesTs and labelsTs: the paper's split, scikit-learn's
train_test_split with random_state=41.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import numpy as np
from nnunetv2.configuration import default_num_processes

from nnunet_pyconv.dataset_conversion import conversion
from nnunet_pyconv.dataset_conversion.cases import Case, Label
from nnunet_pyconv.dataset_conversion.hounsfield import to_hounsfield
from nnunet_pyconv.dataset_conversion.images import Array, read_grey, read_mask
from nnunet_pyconv.dataset_conversion.raw_dataset import Dataset
from nnunet_pyconv.dataset_conversion.source_files import files_by_key, find_root, require_pairs
from nnunet_pyconv.errors import InputError

DATASET = Dataset(
    dataset_id=313,
    name="KaggleLung",
    channel_name="CT",  # nnU-Net normalises by the intensities of the foreground, over the whole dataset
    file_ending=".tif",  # PNG holds no negative values
    description="CT slices of the chest in Hounsfield units with lung masks.",
    reference="K Scott Mader, Finding and Measuring Lungs in CT Data, kaggle.com/kmader/finding-lungs-in-ct-data",
    licence="not stated",
)
IMAGES, MASKS = "2d_images", "2d_masks"

LEAST_HU = -4096  # air has -1000; scanners write down to -3024 outside their field of view
TISSUE_HU = 20  # a slice has at least air or tissue beyond

# a public notebook leaves these out
KNOWN_ODD = frozenset({"ID_0052_Z_0108", "ID_0079_Z_0072", "ID_0134_Z_0137", "ID_0254_Z_0075"})


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
        source: Folder with `2d_images` and `2d_masks`, see the module's text.
        dataset_id: nnU-Net's dataset ID, 1 to 999.
        protocol: `clean` keeps the 20 % out of imagesTr. `paper` puts them there as well and writes
            splits_final.json, in which they validate fold 0: the paper chose its best epoch on its test set.
        num_processes: Cases written at a time.
        overwrite: Whether to replace the dataset folder if it exists.

    Returns:
        The dataset folder.

    Raises:
        InputError: A source or a target that can't be used; nothing is written then.
    """
    train, test = conversion.split_of_the_paper(find_cases(source))
    return conversion.convert_cases(
        DATASET,
        source,
        train,
        test,
        foreground="lung",
        dataset_id=dataset_id,
        protocol=protocol,
        num_processes=num_processes,
        overwrite=overwrite,
    )


def find_cases(source: Path) -> list[Case]:
    """Find the slices; they are read only when they are written.

    Returns:
        The cases by name.

    Raises:
        InputError: No such folders, images without mask or the reverse, or names that stand twice.
    """
    root = find_root(source, (IMAGES, MASKS), "kaggleLung")
    images, masks = (_slices(root / name) for name in (IMAGES, MASKS))
    alone = KNOWN_ODD & (images.keys() ^ masks.keys())
    require_pairs(*({name: path for name, path in files.items() if name not in alone} for files in (images, masks)))
    return [
        Case(
            name,
            str(images.get(name, masks.get(name))),
            image=partial(_read, _read_hounsfield, images.get(name), root / IMAGES),
            label=partial(_read, read_mask, masks.get(name), root / MASKS),
            inspect=partial(_oddities, name),
            known_odd=name in KNOWN_ODD,
        )
        for name in sorted(images.keys() | masks.keys())
    ]


def _slices(folder: Path) -> dict[str, Path]:
    # unpacking 2d_images.zip in a folder 2d_images gives 2d_images/2d_images
    inner = folder / folder.name
    return files_by_key(inner if inner.is_dir() else folder, [".tif", ".tiff", ".png"], lambda path: path.stem, "slice")


def _read(read: Callable[[Path], Array], path: Path | None, folder: Path) -> Array:
    if path is None:  # of a slice that is known to be odd
        raise InputError(f"not in {folder}")
    return read(path)


def _read_hounsfield(path: Path) -> Array:
    return to_hounsfield(read_grey(path), str(path))


def _oddities(name: str, image: Array, label: Label) -> Iterator[str]:
    """What is odd about a slice that can be used."""
    if name in KNOWN_ODD:
        yield "a public notebook leaves this slice out without saying why"
    if image.dtype == np.uint8:
        yield (
            "pixels of 8 bits. The Hounsfield units were lost when these files were saved as ordinary pictures: they "
            "serve to try the pipeline, but scores on them mean nothing. Take the original TIFFs"
        )
    elif image.min() >= 0:
        yield "no negative value, though air has -1000 Hounsfield units: perhaps shifted, windowed or reduced to 8 bits"
    elif image.min() < LEAST_HU:
        yield (
            f"values below {LEAST_HU}, which are no Hounsfield units: perhaps the upper half of unsigned pixels on a "
            "scale of their own, taken for negatives that were stored wrapped"
        )
    elif max(-image.min(), image.max()) < TISSUE_HU:
        yield f"all values within -{TISSUE_HU} and {TISSUE_HU}, though tissue and air differ by 1000: perhaps rescaled"
    if not label.any():
        yield "an empty mask"


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
