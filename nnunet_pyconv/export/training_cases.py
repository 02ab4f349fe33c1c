"""The training cases of a model, as nnU-Net has preprocessed them: to calibrate with, and to measure what is lost."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from nnunetv2.training.dataloading.nnunet_dataset import infer_dataset_class
from numpy.typing import NDArray

from nnunet_pyconv.errors import InputError
from nnunet_pyconv.nnunet_folders import nnunet_folder
from nnunet_pyconv.runtime.description import Description
from nnunet_pyconv.runtime.labels import network_labels_of
from nnunet_pyconv.runtime.sliding_window import NetworkFunction, predict_logits
from nnunet_pyconv.sharing.model_folder import ModelFolder

CALIBRATION_PATCHES = 32
VALIDATION_CASES = 8


@dataclass(frozen=True)
class PreprocessedCase:
    """A preprocessed case.

    Attributes:
        data: `(C, Z, Y, X)`.
        labels: `(Z, Y, X)`; -1 outside of the nonzero region.
    """

    data: NDArray[np.float32]
    labels: NDArray[Any]


class TrainingCases:
    """The cases that a fold was trained with and those that it was validated with.

    Raises:
        InputError: Cases that have not been preprocessed here.
    """

    def __init__(self, model: ModelFolder, fold: str) -> None:
        """Find the cases.

        Args:
            model: The model.
            fold: Its fold; `all` is validated with what it was trained with.
        """
        dataset = nnunet_folder("nnUNet_preprocessed") / model.path.parent.name
        folder = dataset / model.configuration_manager.data_identifier
        if model.configuration_manager.previous_stage_name is not None:
            raise InputError("--precision int8 of a cascade's second stage is not supported; choose fp16")
        try:
            names = infer_dataset_class(str(folder)).get_identifiers(str(folder))
        except (OSError, AssertionError, KeyError):  # no folder, or files of no dataset in it
            names = []
        if not names:
            raise InputError(
                f"--precision int8 is calibrated on the training cases, and {folder} has none; set nnUNet_preprocessed "
                "to the folder that the model was trained with, or run nnUNetv2_preprocess"
            )
        splits = dataset / "splits_final.json"
        if fold.isdigit() and splits.is_file():
            self._train, self._validation = _split(splits, int(fold))
            if missing := sorted({*self._train, *self._validation} - set(names)):
                raise InputError(
                    f"{splits} has {len(missing)} cases that {folder} lacks ({', '.join(missing[:3])}); run "
                    "nnUNetv2_preprocess, or set nnUNet_preprocessed to the folder that the model was trained with"
                )
        else:
            self._train = self._validation = names
        self._cases = infer_dataset_class(str(folder))(str(folder), names)

    def patches(self, patch_size: Sequence[int]) -> list[NDArray[np.float32]]:
        """Cut patches `(1, C, [Z,] Y, X)` out of the training cases, every other one around a voxel with a label."""
        rng = np.random.default_rng(0)
        return [
            _patch(self._load(self._train[number % len(self._train)]), patch_size, rng, foreground=number % 2 == 0)
            for number in range(CALIBRATION_PATCHES)
        ]

    def validation(self, at_most: int | None = VALIDATION_CASES) -> Iterator[PreprocessedCase]:
        """Load validation cases, evenly spread over all; None for all."""
        count = len(self._validation)
        chosen = np.linspace(0, count - 1, count if at_most is None else min(at_most, count))
        return (self._load(self._validation[round(number)]) for number in chosen)

    def _load(self, name: str) -> PreprocessedCase:
        data, seg, _, _ = self._cases.load_case(name)
        return PreprocessedCase(np.asarray(data[:], np.float32), np.asarray(seg[:])[0])


def _split(file: Path, fold: int) -> tuple[list[str], list[str]]:
    """The names of the training and validation cases of a fold."""
    splits = json.loads(file.read_text("utf-8"))
    if fold >= len(splits):  # nnU-Net draws such a fold by a seed of its own
        raise InputError(
            f"{file} has the folds 0 to {len(splits) - 1}, and the model is of fold {fold}; add its split there, or "
            "choose fp16"
        )
    return splits[fold]["train"], splits[fold]["val"]


def _patch(
    case: PreprocessedCase, patch_size: Sequence[int], rng: np.random.Generator, *, foreground: bool
) -> NDArray[np.float32]:
    places = np.argwhere(case.labels > 0) if foreground else np.empty((0, 3), int)
    centre = rng.choice(places) if len(places) else [rng.integers(size) for size in case.labels.shape]
    data = case.data
    if len(patch_size) == 2:
        data, centre = data[:, centre[0]], centre[1:]
    missing = [max(patch - size, 0) for patch, size in zip(patch_size, data.shape[1:], strict=True)]
    data = np.pad(data, [(0, 0), *((size // 2, size - size // 2) for size in missing)])
    starts = [
        int(np.clip(middle - patch // 2, 0, size - patch))
        for middle, patch, size in zip(centre, patch_size, data.shape[1:], strict=True)
    ]
    index = (slice(None), *(slice(start, start + patch) for start, patch in zip(starts, patch_size, strict=True)))
    return np.ascontiguousarray(data[index][None])


def mean_dice(network: NetworkFunction, cases: Iterable[PreprocessedCase], description: Description) -> float:
    """Predict preprocessed cases and score them: mean Dice over cases and classes or regions.

    A class that is neither in the labels nor in the prediction doesn't count; voxels with the ignore label neither.
    """
    scores = []
    for case in cases:
        logits = predict_logits(
            case.data,
            [network],
            outputs=description.number_of_outputs,
            patch_size=description.patch_size,
            mirror_axes=None,
            step_size=0.5,
            new_array=lambda shape: np.zeros(shape, np.float16),
        )
        found = network_labels_of(logits, description)
        counts = case.labels != description.labels.get("ignore", -2)
        for name, value in description.labels.items():
            if name in ("background", "ignore"):
                continue
            truth, prediction = (np.isin(labels, value) & counts for labels in (case.labels, found))
            if size := int(truth.sum() + prediction.sum()):
                scores.append(2 * int((truth & prediction).sum()) / size)
    if not scores:
        raise InputError("the validation cases have no foreground, so what int8 loses can't be measured; choose fp16")
    return float(np.mean(scores))
