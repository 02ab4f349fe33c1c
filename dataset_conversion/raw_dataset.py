"""Writing a dataset folder in nnU-Net's raw format: whole or not at all."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import skimage.io as io
from nnunetv2.dataset_conversion.generate_dataset_json import generate_dataset_json
from nnunetv2.paths import nnUNet_preprocessed, nnUNet_raw
from nnunetv2.utilities.dataset_name_id_conversion import find_candidate_datasets
from numpy.typing import NDArray
from tqdm import tqdm

from nnunet_pyconv.dataset_conversion.images import Array, require_same_size
from nnunet_pyconv.errors import InputError


@dataclass(frozen=True)
class Case:
    """One case, read only when it is written, so that memory stays constant.

    Attributes:
        name: nnU-Net's case identifier.
        source: Where it comes from, for messages.
        image: Reads the image `(Y, X)`.
        label: Reads the label `(Y, X)` of 0, 1, ...; None for a case without label.
    """

    name: str
    source: str
    image: Callable[[], Array]
    label: Callable[[], NDArray[np.uint8]] | None = None


def dataset_folder(dataset_id: int, name: str, *, source: Path, overwrite: bool) -> Path:
    """Return the folder `nnUNet_raw/DatasetXXX_name` that a conversion may write.

    Args:
        dataset_id: nnU-Net's dataset ID.
        name: Name of the dataset.
        source: What is converted; it may not lie in the folder that is replaced.
        overwrite: Whether the folder may exist.

    Raises:
        InputError: `nnUNet_raw` unset, an ID outside 1 to 999 or taken under another name, a folder that
            exists while `overwrite` is false, or one that holds the source.
    """
    if not nnUNet_raw.get():
        raise InputError(
            "the environment variable nnUNet_raw is not set, so there is no place for the dataset; "
            "set it to a folder, for example: export nnUNet_raw=$HOME/nnUNet_raw"
        )
    if not 1 <= dataset_id <= 999:
        raise InputError(f"dataset ID {dataset_id} is not between 1 and 999; choose another with -d")
    folder_name = f"Dataset{dataset_id:03d}_{name}"
    others = [str(other) for other in find_candidate_datasets(dataset_id) if other != folder_name]
    if others:
        raise InputError(
            f"dataset ID {dataset_id} is taken by {', '.join(others)} in your nnU-Net folders; "
            f"choose another ID for {name} with -d"
        )
    folder = Path(nnUNet_raw.require()) / folder_name
    if source.resolve().is_relative_to(folder.resolve()):
        raise InputError(f"the source {source} lies in {folder}, the folder to be written; move it elsewhere")
    if folder.exists() and not overwrite:
        raise InputError(f"{folder} exists already; choose another ID with -d, or replace it with --overwrite")
    return folder


def preprocessed_before(folder: Path) -> Path | None:
    """Return the folder of an earlier dataset of this name in `nnUNet_preprocessed`, or None: it is out of date now."""
    base = nnUNet_preprocessed.get()
    earlier = Path(base) / folder.name if base else None
    return earlier if earlier is not None and earlier.exists() else None


def write_cases(
    folder: Path, cases: Sequence[Case], *, images: str, labels: str | None, file_ending: str, num_processes: int
) -> None:
    """Write cases as `images/NAME_0000.ext` and `labels/NAME.ext`, several at a time.

    Args:
        folder: The dataset folder.
        cases: What to write; their images and labels are read here.
        images: Name of the folder of the images, for example `imagesTr`.
        labels: Name of the folder of the labels; None for cases without.
        file_ending: `.png` or `.tif`.
        num_processes: How many cases at a time. They run in threads: compression leaves Python's lock alone.

    Raises:
        InputError: A case that can't be read, whose image and label differ in size, or whose type PNG can't hold.
    """

    def write(case: Case) -> None:
        image = case.image()
        if file_ending == ".png" and image.dtype not in (np.uint8, np.uint16):
            raise InputError(f"{case.source} has pixels of type {image.dtype}; expected 8 or 16 bits, unsigned")
        io.imsave(folder / images / f"{case.name}_0000{file_ending}", image, check_contrast=False)
        if labels is not None and case.label is not None:
            label = case.label()
            require_same_size(image, label, case.source)
            io.imsave(folder / labels / f"{case.name}{file_ending}", label, check_contrast=False)

    for name in (images, labels):
        if name is not None:
            (folder / name).mkdir(exist_ok=True)
    pool = ThreadPoolExecutor(num_processes)
    try:
        for _ in tqdm(pool.map(write, cases), total=len(cases), desc=images, unit="case"):
            pass
    finally:
        pool.shutdown(cancel_futures=True)


def write_dataset_json(
    folder: Path,
    *,
    channel_name: str,
    labels: Mapping[str, int],
    num_training: int,
    file_ending: str,
    description: str,
    reference: str,
    licence: str,
) -> None:
    """Write nnU-Net's `dataset.json`.

    Args:
        folder: The dataset folder.
        channel_name: Name of the one channel; it decides the normalisation (`CT`, or z-score for others).
        labels: Value of each class, background 0.
        num_training: Cases in `imagesTr`.
        file_ending: `.png` or `.tif`.
        description: What the data are.
        reference: Where they come from.
        licence: Under which terms.
    """
    generate_dataset_json(
        str(folder),
        channel_names={"0": channel_name},
        labels=dict(labels),
        num_training_cases=num_training,
        file_ending=file_ending,
        description=description,
        reference=reference,
        license=licence,
        converted_by="nnunet-pyconv",
    )
