"""What a user asks for."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from nnunetv2.configuration import default_num_processes

from nnunet_pyconv.dataset_conversion.folder.label_coding import LabelCoding
from nnunet_pyconv.errors import InputError


@dataclass(frozen=True)
class FolderRequest:
    """A folder of images and one of label images, and what is to become of them.

    Attributes:
        images: Folder of the images; subfolders count.
        labels: Folder of the label images; may be the same.
        dataset_id: nnU-Net's dataset ID, 1 to 999.
        name: Name of the dataset.
        coding: What the label images' values or colours mean; None where they have two values.
        channels: Names of the channels; None for `R`, `G`, `B` of colours and `grey` of others.
        test_fraction: What part of the cases to set aside as test set; None for none.
        test_images: Folder of the test images; None for none.
        test_labels: Folder of their label images; None for none.
        group_by: Finds the patient in a case's name; None where each case is a patient of its own.
        num_processes: Cases at a time.
        overwrite: Whether to replace the dataset folder if it exists.

    Raises:
        InputError: Options that contradict each other.
    """

    images: Path
    labels: Path
    dataset_id: int
    name: str
    coding: LabelCoding | None = None
    channels: tuple[str, ...] | None = None
    test_fraction: float | None = None
    test_images: Path | None = None
    test_labels: Path | None = None
    group_by: re.Pattern[str] | None = None
    num_processes: int = default_num_processes
    overwrite: bool = False

    def __post_init__(self) -> None:
        if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_.+-]*", self.name):
            raise InputError(f"-n {self.name!r}: expected a name of letters, digits, _, -, + and ., such as Nuclei")
        if self.test_fraction is not None and not 0 < self.test_fraction < 1:
            raise InputError(f"--test {self.test_fraction:g}: expected a fraction between 0 and 1, such as 0.2")
        if self.test_fraction is not None and self.test_images is not None:
            raise InputError("--test and -ti: expected one of them; --test sets a part of the images in -i aside")
        if self.test_images is not None and self.test_images.resolve() == self.images.resolve():
            raise InputError(f"-ti {self.test_images}: expected another folder than -i; --test sets a part of it aside")
        if self.test_labels is not None and self.test_images is None:
            raise InputError(f"-tl {self.test_labels}: expected -ti as well, the images that these labels belong to")

    @property
    def sources(self) -> list[Path]:
        """All folders that are read."""
        folders = (self.images, self.labels, self.test_images, self.test_labels)
        return [folder for folder in folders if folder is not None]
