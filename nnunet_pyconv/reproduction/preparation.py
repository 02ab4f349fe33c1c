"""What a dataset needs once, before its runs: nnU-Net's plans and preprocessed data, and our plans."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from batchgenerators.utilities.file_and_folder_operations import load_json

from nnunet_pyconv.errors import InputError
from nnunet_pyconv.evaluation.dataset import RawDataset
from nnunet_pyconv.names import DEFAULT_SOURCE, PAPER_PLANS
from nnunet_pyconv.nnunet_commands import Outcome, Step, run_steps
from nnunet_pyconv.nnunet_folders import dataset_id, nnunet_folder
from nnunet_pyconv.reproduction.products import json_damage, preprocessed_damage

LOG = "reproduce.log"
SPACING_OF_SLICES = 999  # what nnU-Net takes for the distance of slices in a dataset of pictures


@dataclass(frozen=True)
class Preparation:
    """The preparation of one dataset; called as a job.

    Attributes:
        dataset: `DatasetXXX_Name`.
        num_processes: nnU-Net's `-np`.
        target_spacing: Spacing `(Y, X)` to resample to, with plans and preprocessed data of their own; None keeps the
            images as they are.
    """

    dataset: str
    num_processes: int
    target_spacing: tuple[float, ...] | None = None

    def __str__(self) -> str:
        return self.dataset

    @property
    def dataset_id(self) -> str:
        """nnU-Net's dataset ID."""
        return str(dataset_id(self.dataset))

    @property
    def source_plans(self) -> str:
        """Name of nnU-Net's plans."""
        return DEFAULT_SOURCE + self.suffix

    @property
    def plans(self) -> str:
        """Name of the plans with the paper's networks."""
        return PAPER_PLANS + self.suffix

    @property
    def suffix(self) -> str:
        """What the names of plans end with: the target spacing, if there is one."""
        spacing = self.target_spacing
        return "" if spacing is None else "_spacing_" + "x".join(f"{step:g}" for step in spacing)

    @property
    def raw(self) -> Path:
        """The dataset folder."""
        return nnunet_folder("nnUNet_raw") / self.dataset

    @property
    def preprocessed(self) -> Path:
        """Its folder of preprocessed data and plans."""
        return nnunet_folder("nnUNet_preprocessed") / self.dataset

    @property
    def log(self) -> Path:
        """What its commands print."""
        return self.preprocessed / LOG

    @cached_property
    def raw_dataset(self) -> RawDataset:
        """The dataset, for reading its cases.

        Raises:
            InputError: A damaged `dataset.json`.
        """
        file = self.raw / "dataset.json"
        try:
            content: dict[str, Any] = load_json(str(file))
            return RawDataset(self.raw, {**content, "file_ending": content["file_ending"]})
        except (OSError, ValueError, LookupError, TypeError) as error:
            raise InputError(
                f"{self.raw} is not a dataset of nnU-Net ({error!r}); convert it again with nnunet_pyconv convert"
            ) from error

    @property
    def num_folds_given(self) -> int | None:
        """How many folds the dataset brings along in `splits_final.json`; None where nnU-Net makes its five.

        Raises:
            InputError: A damaged file.
        """
        file = self.raw / "splits_final.json"
        return len(_read_splits(file)) if file.is_file() else None

    def training_cases(self) -> set[str]:
        """Return the cases of `labelsTr`.

        Raises:
            InputError: The raw dataset lacks `dataset.json` or `labelsTr`.
        """
        return self._cases("labelsTr")

    def test_cases(self) -> set[str]:
        """Return the cases of `labelsTs`, likewise."""
        return self._cases("labelsTs")

    def validation_cases(self, fold: str) -> set[str]:
        """Return the cases that validate a fold; empty before nnU-Net has made its splits.

        Raises:
            InputError: Splits that are damaged or lack the fold.
        """
        if fold == "all":
            return self.training_cases()
        file = self.preprocessed / "splits_final.json"
        if not file.is_file():
            return set()
        try:
            return set(_read_splits(file)[int(fold)]["val"])
        except (LookupError, TypeError) as error:
            raise InputError(
                f"{file} has no fold {fold} ({error!r}); remove it, so that nnU-Net makes it again"
            ) from error

    @property
    def is_preprocessed(self) -> bool:
        """Whether nnU-Net has planned and preprocessed every training case.

        Raises:
            InputError: The raw dataset lacks `dataset.json` or `labelsTr`.
        """
        return not self._preprocessing_damage()

    @property
    def is_done(self) -> bool:
        """Whether the runs of this dataset can start."""
        plans_file = self.preprocessed / f"{self.plans}.json"
        return self.is_preprocessed and plans_file.is_file() and not json_damage(plans_file)

    def damages(self) -> list[str]:
        """Return what is there and not whole, a sentence each; it will be made again."""
        plans_file = self.preprocessed / f"{self.plans}.json"
        found = []
        if (self.preprocessed / f"{self.source_plans}.json").is_file() and (damage := self._preprocessing_damage()):
            found.append(f"{self.preprocessed}: {damage}")
        if plans_file.is_file() and (damage := json_damage(plans_file)):
            found.append(f"{plans_file} {damage}")
        return found

    def steps(self) -> Iterator[Step]:
        """The steps that are left."""
        overwrite = []
        if not self.is_preprocessed:
            command = ["nnUNetv2_plan_and_preprocess", "-d", self.dataset_id, "-c", "2d", "--verify_dataset_integrity"]
            command += ["-npfp", str(self.num_processes), "-np", str(self.num_processes)]
            if self.target_spacing is not None:
                spacing = (SPACING_OF_SLICES, *self.target_spacing)
                command += ["-overwrite_target_spacing", *(f"{step:g}" for step in spacing)]
                command += ["-overwrite_plans_name", self.source_plans]
            yield Step("plan and preprocess", command)
            overwrite = ["--overwrite"]  # our plans are made of nnU-Net's
        if overwrite or not self.is_done:
            command = ["nnunet_pyconv", "plan", "-d", self.dataset_id, "--paper"]
            if self.target_spacing is not None:
                command += ["-p", self.source_plans, "-o", self.plans]
            yield Step("plan the networks", [*command, *overwrite])

    def __call__(self) -> Outcome:
        """Run what is left; what is damaged is put aside and made again."""
        return run_steps(str(self), self._steps_after_repair(), self.log)

    def _steps_after_repair(self) -> Iterator[Step]:
        for damage in self.damages():
            print(f"{self}: {damage}; it is made again", flush=True)
        for name in (self.source_plans, self.plans):
            file = self.preprocessed / f"{name}.json"
            if file.is_file() and json_damage(file):
                file.replace(file.with_name(f"{file.name}.damaged"))  # nnU-Net would read it, and ours not replace it
        yield from self.steps()

    def _cases(self, folder: str) -> set[str]:
        ending = self.raw_dataset.file_ending
        try:
            names = [path.name for path in (self.raw / folder).iterdir()]
        except OSError as error:
            raise InputError(
                f"{self.raw} is not a dataset of nnU-Net ({error!r}); convert it again with nnunet_pyconv convert"
            ) from error
        return {name.removesuffix(ending) for name in names if name.endswith(ending) and not name.startswith(".")}

    def _preprocessing_damage(self) -> str:
        plans_file = self.preprocessed / f"{self.source_plans}.json"
        if not plans_file.is_file() or (damage := json_damage(plans_file)):
            return f"{plans_file.name} " + (damage if plans_file.is_file() else "does not exist")
        try:
            identifier = load_json(str(plans_file))["configurations"]["2d"]["data_identifier"]
        except (LookupError, TypeError) as error:
            return f"{plans_file.name} has no configuration 2d ({error!r})"
        return preprocessed_damage(self.preprocessed / identifier, sorted(self.training_cases()))


def _read_splits(file: Path) -> Sequence[Any]:
    """The folds in a `splits_final.json`.

    Raises:
        InputError: A damaged file.
    """
    try:
        splits = load_json(str(file))
    except ValueError:
        splits = None
    if not (isinstance(splits, list) and splits):
        raise InputError(f"{file} is no list of folds; convert the dataset again with nnunet_pyconv convert")
    return splits
