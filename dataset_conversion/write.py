"""Writing a dataset folder, whole or not at all."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import SimpleITK
import tifffile
from batchgenerators.utilities.file_and_folder_operations import save_json
from PIL import Image

from nnunet_pyconv.dataset_conversion.cases import Case, CaseData
from nnunet_pyconv.dataset_conversion.dataset_content import DatasetContent
from nnunet_pyconv.dataset_conversion.findings import CaseFindings, Findings
from nnunet_pyconv.dataset_conversion.parallel import several_at_a_time
from nnunet_pyconv.dataset_conversion.preview import save_preview
from nnunet_pyconv.dataset_conversion.reading import PICTURE_ENDINGS, Array, Geometry, require_same_size
from nnunet_pyconv.dataset_conversion.splits import NUM_FOLDS
from nnunet_pyconv.errors import InputError
from nnunet_pyconv.writing import whole_folder

PREVIEW = "preview.png"


def write_dataset(target: Path, dataset: DatasetContent, *, num_processes: int, overwrite: bool) -> None:
    """Write a dataset folder with its preview, print its summary and what is odd.

    Args:
        target: The dataset folder; a link is followed.
        dataset: What it is to hold.
        num_processes: Cases written at a time.
        overwrite: Whether to replace the folder if it exists.

    Raises:
        InputError: A case that can't be used; nothing is written then.
    """
    if not dataset.folds and len(dataset.training) < NUM_FOLDS:
        raise InputError(
            f"found {len(dataset.training)} cases to train on; expected at least {NUM_FOLDS}, as nnU-Net makes "
            f"{NUM_FOLDS} folds of them"
        )
    findings = Findings(dataset.classes)
    with whole_folder(target, overwrite=overwrite) as folder:
        _write_cases(folder, dataset, dataset.training, "imagesTr", "labelsTr", findings, num_processes)
        _write_cases(folder, dataset, dataset.test, "imagesTs", "labelsTs", findings, num_processes)
        _write_cases(folder, dataset, dataset.unlabelled, "imagesChallenge", None, findings, num_processes)
        if "CT" in dataset.channels:
            findings.require_one_kind_of_ct()
        written = set(findings.names("imagesTr"))
        if dataset.folds:
            folds = [
                {"train": [n for n in train if n in written], "val": [n for n in validation if n in written]}
                for train, validation in dataset.folds
            ]
            save_json(folds, str(folder / "splits_final.json"), sort_keys=False)
        dataset.write_json(folder, len(written))
        save_preview(folder / PREVIEW, [c for c in dataset.training if c.name in written], dataset.classes)
    for line in findings.summary():
        print(line)
    for line in findings.warnings():
        print(f"warning: {line}", file=sys.stderr)


def _write_cases(
    folder: Path,
    dataset: DatasetContent,
    cases: Sequence[Case],
    images: str,
    labels: str | None,
    findings: Findings,
    num_processes: int,
) -> None:
    """Write cases as `images/NAME_0000.ext` and `labels/NAME.ext`, several at a time."""
    if not cases:
        return
    ending = dataset.file_ending

    def write(case: Case) -> CaseFindings | InputError:
        try:
            data = case.read()
            _require_usable(case, data, ending)
        except InputError as error:
            if not case.known_faulty:
                raise
            return error
        for number, image in enumerate(data.images):
            save_pixels(folder / images / f"{case.name}_{number:04d}{ending}", image, data.geometry)
        if labels is not None and data.label is not None:
            (folder / labels).mkdir(exist_ok=True)
            save_pixels(folder / labels / f"{case.name}{ending}", data.label, data.geometry)
        return CaseFindings.of(case, data, len(dataset.classes), ending in PICTURE_ENDINGS)

    (folder / images).mkdir()
    of_part = findings.cases.setdefault(images, {})
    for case, found in zip(cases, several_at_a_time(write, cases, num_processes, images), strict=True):
        if isinstance(found, InputError):
            findings.left_out[case.name] = str(found)
        else:
            of_part[case.name] = found


def _require_usable(case: Case, data: CaseData, ending: str) -> None:
    for image in data.images:
        if ending == ".png" and image.dtype not in (np.uint8, np.uint16):
            raise InputError(f"{case.source} has pixels of type {image.dtype}; expected 8 or 16 bits, unsigned")
        if image.dtype.kind == "f" and not np.isfinite(image).all():
            raise InputError(
                f"{case.source} has pixels that are not finite; expected numbers, replace NaN and infinity"
            )
        if data.label is not None:
            size = image.shape if ending not in PICTURE_ENDINGS else image.shape[:2]
            require_same_size(size, data.label.shape, case.source)


def save_pixels(path: Path, pixels: Array, geometry: Geometry | None) -> None:
    """Write an image or a label as nnU-Net's readers expect it.

    Args:
        path: PNG, TIFF, NIfTI or NRRD.
        pixels: `(Y, X)` or `(Y, X, 3)`, or a volume `(Z, Y, X)`.
        geometry: Of the volume; None for a picture.
    """
    if geometry is not None:
        volume = SimpleITK.GetImageFromArray(pixels)
        volume.SetSpacing(geometry.spacing)
        volume.SetOrigin(geometry.origin)
        volume.SetDirection(geometry.direction)
        SimpleITK.WriteImage(volume, str(path), useCompression=True)
    elif path.suffix == ".tif":
        tifffile.imwrite(path, pixels, photometric="rgb" if pixels.ndim == 3 else "minisblack")
    else:
        Image.fromarray(pixels).save(path)
