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

from collections.abc import Iterator
from functools import partial
from pathlib import Path

import numpy as np

from nnunet_pyconv.dataset_conversion.cases import Case, CaseData, FoundCases
from nnunet_pyconv.dataset_conversion.description import DatasetDescription
from nnunet_pyconv.dataset_conversion.reading import Array, read_grey, read_mask, to_hounsfield
from nnunet_pyconv.dataset_conversion.source_files import files_by_key, find_root, inner_folder, require_pairs
from nnunet_pyconv.errors import InputError

DESCRIPTION = DatasetDescription(
    dataset_id=313,
    name="KaggleLung",
    channel="CT",  # nnU-Net normalises by the intensities of the foreground, over the whole dataset
    foreground="lung",
    file_ending=".tif",  # PNG holds no negative values
    text="CT slices of the chest in Hounsfield units with lung masks.",
    reference="K Scott Mader, Finding and Measuring Lungs in CT Data, kaggle.com/kmader/finding-lungs-in-ct-data",
    licence="not stated",
)
IMAGES, MASKS = "2d_images", "2d_masks"

LEAST_HU = -4096  # air has -1000; scanners write down to -3024 outside their field of view
TISSUE_HU = 20  # a slice has at least air or tissue beyond

# what is wrong with masks of the original data, as one sees them; a public notebook leaves these slices out
_AIR = "its mask is wrong in the original data: the air around the body is marked as lung"
_ONE_LUNG = "its mask is wrong in the original data: one of the two lungs is missing"
WRONG_MASKS = {
    "ID_0052_Z_0108": _AIR,
    "ID_0079_Z_0072": _ONE_LUNG,
    "ID_0134_Z_0137": _AIR,
    "ID_0254_Z_0075": _AIR,
}


def find_cases(source: Path) -> FoundCases:
    """Find the slices; they are read only when they are written.

    Args:
        source: Folder with `2d_images` and `2d_masks`, see the module's text.

    Returns:
        The cases by name.

    Raises:
        InputError: No such folders, images without mask or the reverse, or names that stand twice.
    """
    root = find_root(
        source,
        lambda folder: all((folder / name).is_dir() for name in (IMAGES, MASKS)),
        f"no folder {IMAGES} and {MASKS}",
        "kaggleLung",
    )
    images, masks = (
        files_by_key(inner_folder(root / name), lambda path: path.stem, "slice") for name in (IMAGES, MASKS)
    )
    alone = WRONG_MASKS.keys() & (images.keys() ^ masks.keys())
    require_pairs(*({name: path for name, path in files.items() if name not in alone} for files in (images, masks)))
    return FoundCases(
        [
            Case(
                name,
                str(images.get(name, masks.get(name))),
                partial(_read, name, images.get(name), masks.get(name)),
                known_faulty=name in WRONG_MASKS,
            )
            for name in sorted(images.keys() | masks.keys())
        ]
    )


def _read(name: str, image_file: Path | None, mask_file: Path | None) -> CaseData:
    if image_file is None or mask_file is None:  # of a slice that is known to be odd
        raise InputError(f"not in {IMAGES if image_file is None else MASKS}")
    image = to_hounsfield(read_grey(image_file), str(image_file))
    return CaseData.of_mask(image, read_mask(mask_file), *_oddities(name, image))


def _oddities(name: str, image: Array) -> Iterator[str]:
    """Say what is odd about a slice that can be used."""
    if name in WRONG_MASKS:
        yield WRONG_MASKS[name]
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
