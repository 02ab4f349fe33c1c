"""Reading the masks of a case with nnU-Net's reader, and checking that they belong together."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nnunet_pyconv.errors import InputError
from nnunet_pyconv.evaluation.dataset import RawDataset
from nnunet_pyconv.evaluation.models import CaseFiles


def read_truth_and_prediction(
    dataset: RawDataset, files: CaseFiles
) -> tuple[NDArray[np.int64], NDArray[np.int64], tuple[float, ...]]:
    """Read a case's masks.

    Args:
        dataset: The dataset.
        files: Where they are.

    Returns:
        Truth and prediction, `(Y, X)` or `(Z, Y, X)`, and the size of a pixel along each axis, in mm (1 where the files
        carry no spacing).

    Raises:
        InputError: A file that can't be read or is a colour picture, a prediction of another size or spacing, or labels
            that the dataset doesn't have.
    """
    truth, spacing = _read_labels(dataset, files.truth)
    prediction, spacing_of_prediction = _read_labels(dataset, files.prediction)
    if truth.shape != prediction.shape:
        raise InputError(
            f"{files.prediction} has {_size(prediction.shape)} pixels and its truth {files.truth} "
            f"{_size(truth.shape)}; expected "
            "the same size: predict the original images"
        )
    if not np.allclose(spacing, spacing_of_prediction, rtol=1e-3):
        raise InputError(
            f"{files.prediction} has pixels of {_size(spacing_of_prediction)} mm and its truth {files.truth} of "
            f"{_size(spacing)} mm; expected the same spacing. One of the headers is wrong: compare both with the "
            "image's (of a TIFF, the .json beside it)"
        )
    allowed = dataset.labels if dataset.ignore_label is None else dataset.labels | {dataset.ignore_label}
    _require_labels(truth, allowed, files.truth, dataset)
    _require_labels(prediction, dataset.labels, files.prediction, dataset)
    return truth, prediction, spacing


def read_probabilities(dataset: RawDataset, files: CaseFiles, shape: tuple[int, ...]) -> NDArray[np.float64]:
    """Read what nnU-Net's `--npz` wrote for a 2D case.

    Args:
        dataset: The dataset.
        files: Where it is.
        shape: `(Y, X)` of the truth.

    Returns:
        `(labels, Y, X)`, 0 to 1.

    Raises:
        InputError: A file that can't be read, of another size or number of labels, or with values that are no
            probabilities.
    """
    if files.probabilities is None:
        raise InputError(f"{files.prediction} has no probabilities; validate or predict with nnU-Net's --npz")
    try:
        with np.load(files.probabilities) as archive:
            probabilities: NDArray[np.float64] = archive["probabilities"].astype(float)
    except Exception as error:  # zip and numpy raise several kinds
        raise InputError(f"can't read {files.probabilities} ({error!r}); predict again with --npz") from error
    expected = (len(dataset.labels), 1, *shape)
    if probabilities.shape != expected:
        raise InputError(
            f"{files.probabilities} has shape {probabilities.shape}; expected {expected} as nnU-Net writes it for the "
            f"labels of {dataset.name} and an image of the truth's size; predict again with --npz"
        )
    if not ((probabilities > -1e-3) & (probabilities < 1 + 1e-3)).all():
        raise InputError(
            f"{files.probabilities} has values that are no probabilities (from {probabilities.min():g} to "
            f"{probabilities.max():g}); expected 0 to 1; predict again with --npz"
        )
    return probabilities[:, 0]


def read_image(dataset: RawDataset, path: Path) -> NDArray[np.float64]:
    """Read a single-channel image, or the first channel of a colour image, as `(Y, X)` or `(Z, Y, X)`."""
    return _read(dataset, path, "read_images", (str(path),))[0][0].astype(float)


def _read_labels(dataset: RawDataset, path: Path) -> tuple[NDArray[np.int64], tuple[float, ...]]:
    channels, spacing = _read(dataset, path, "read_seg", str(path))
    if (channels != channels[:1]).any():
        raise InputError(f"{path} has {len(channels)} channels that differ; expected one, of labels")
    labels = channels[0].astype(np.int64)
    if (labels != channels[0]).any():
        raise InputError(f"{path} holds values that are no integers; expected labels")
    return labels, spacing


def _read(dataset: RawDataset, path: Path, method: str, argument: Any) -> tuple[NDArray[Any], tuple[float, ...]]:
    """Read `(channels, Y, X)` or `(channels, Z, Y, X)`."""
    try:
        try:
            array, properties = getattr(dataset.reader(path), method)(argument)
        except Exception:  # of a reader that the first file chose; this one may need another
            array, properties = getattr(dataset.reader(path, afresh=True), method)(argument)
    except Exception as error:  # each reader raises its own kinds
        raise InputError(f"can't read {path} ({error!r}); the file may be damaged, write it again") from error
    spacing = tuple(float(step) for step in properties["spacing"])
    if array.shape[1] == 1:  # nnU-Net reads (1, 1, Y, X) from a 2D file
        return array[:, 0], spacing[1:]
    return array, spacing


def _require_labels(labels: NDArray[np.int64], allowed: set[int], path: Path, dataset: RawDataset) -> None:
    others = sorted(set(np.unique(labels).tolist()) - allowed)
    if others:
        shown = ", ".join(map(str, others[:5])) + (", ..." if len(others) > 5 else "")
        hint = "; masks of 0 and 255 have to become 0 and 1" if others == [255] else ""
        raise InputError(
            f"{path} has labels {shown} that {dataset.name} doesn't have; expected "
            f"{', '.join(map(str, sorted(allowed)))}, as its dataset.json says{hint}"
        )


def _size(steps: Sequence[float]) -> str:
    return " x ".join(f"{step:g}" for step in steps)
