"""The cases of a dataset: read, checked and written one by one, several at a time."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import skimage.io as io
from numpy.typing import NDArray
from tqdm import tqdm

from nnunet_pyconv.dataset_conversion.images import Array, require_same_size
from nnunet_pyconv.errors import InputError

Label = NDArray[np.uint8]


@dataclass(frozen=True)
class Case:
    """One case, read only when it is written, so that memory stays constant.

    Attributes:
        name: nnU-Net's case identifier.
        source: Where it comes from, for messages.
        image: Reads the image `(Y, X)`.
        label: Reads the label `(Y, X)` of 0, 1, ...; None for a case without label.
        inspect: Says what is odd about image and label, though they can be used.
        known_odd: Whether it is known to be odd: it is left out where it can't be used, instead of an error.
    """

    name: str
    source: str
    image: Callable[[], Array]
    label: Callable[[], Label] | None = None
    inspect: Callable[[Array, Label], Iterator[str]] | None = None
    known_odd: bool = False


@dataclass
class Report:
    """What was odd in a conversion.

    Attributes:
        remarks: Each remark with the names of the cases it is about.
        left_out: The names of the cases that were not written.
        dtypes: Each type of pixels with the names of the cases whose images have it.
        digests: Each digest of an image's pixels with the names of the cases that have these.
    """

    remarks: dict[str, set[str]] = field(default_factory=dict)
    left_out: set[str] = field(default_factory=set)
    dtypes: dict[str, set[str]] = field(default_factory=dict)
    digests: dict[bytes, set[str]] = field(default_factory=dict)

    def add(self, case: Case, remark: str) -> None:
        """Note a remark about a case."""
        self.remarks.setdefault(remark, set()).add(case.name)

    def same_images(self) -> list[set[str]]:
        """The names of cases with the same image, for each image that several have."""
        return [names for names in self.digests.values() if len(names) > 1]

    def names_written(self, cases: Sequence[Case]) -> list[str]:
        """The names of those of the cases that were not left out."""
        return [case.name for case in cases if case.name not in self.left_out]


def write_cases(
    folder: Path,
    cases: Sequence[Case],
    report: Report,
    *,
    images: str,
    labels: str | None,
    file_ending: str,
    num_processes: int,
) -> None:
    """Write cases as `images/NAME_0000.ext` and `labels/NAME.ext`, several at a time.

    Args:
        folder: The dataset folder.
        cases: What to write; their images and labels are read here.
        report: What is odd is added to it.
        images: Name of the folder of the images, for example `imagesTr`.
        labels: Name of the folder of the labels; None for cases without.
        file_ending: `.png` or `.tif`.
        num_processes: How many cases at a time. They run in threads: compression leaves Python's lock alone.

    Raises:
        InputError: A case that can't be read, whose image and label differ in size, or whose type PNG can't hold.
    """

    def write(case: Case) -> tuple[str, bytes | None, list[str]]:
        image = case.image()
        if file_ending == ".png" and image.dtype not in (np.uint8, np.uint16):
            raise InputError(f"{case.source} has pixels of type {image.dtype}; expected 8 or 16 bits, unsigned")
        files = {folder / images / f"{case.name}_0000{file_ending}": image}
        remarks: list[str] = []
        if labels is not None and case.label is not None:
            label = case.label()
            require_same_size(image, label, case.source)
            files[folder / labels / f"{case.name}{file_ending}"] = label
            if case.inspect is not None:
                remarks += case.inspect(image, label)
        for path, pixels in files.items():
            io.imsave(path, pixels, check_contrast=False)
        # images of one value, for example of air alone, are no copies of each other
        digest = hashlib.blake2b(image.tobytes()).digest() if image.min() < image.max() else None
        return str(image.dtype), digest, remarks

    def try_to_write(case: Case) -> tuple[str, bytes | None, list[str]] | InputError:
        try:
            return write(case)
        except InputError as error:
            if not case.known_odd:
                raise
            return error

    for name in (images, labels):
        if name is not None:
            (folder / name).mkdir(exist_ok=True)
    pool = ThreadPoolExecutor(num_processes)
    try:
        results = tqdm(pool.map(try_to_write, cases), total=len(cases), desc=images, unit="case")
        for case, result in zip(cases, results, strict=True):
            if isinstance(result, InputError):
                report.add(case, f"left out: {result}")
                report.left_out.add(case.name)
                continue
            dtype, digest, remarks = result
            report.dtypes.setdefault(dtype, set()).add(case.name)
            if digest is not None:
                report.digests.setdefault(digest, set()).add(case.name)
            for remark in remarks:
                report.add(case, remark)
    finally:
        pool.shutdown(cancel_futures=True)
