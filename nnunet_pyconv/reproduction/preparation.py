"""What a dataset needs once, before its cells: nnU-Net's plans and preprocessed data, and our plans."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from batchgenerators.utilities.file_and_folder_operations import load_json
from nnunetv2.paths import nnUNet_preprocessed, nnUNet_raw

from nnunet_pyconv.errors import InputError
from nnunet_pyconv.names import DEFAULT_SOURCE, PAPER_PLANS
from nnunet_pyconv.nnunet_commands import Outcome, Step, run_steps

LOG = "reproduce.log"

SPACING_OF_SLICES = 999  # what nnU-Net takes for the distance of slices in a dataset of pictures


@dataclass(frozen=True)
class Preparation:
    """The preparation of one dataset; called as a job.

    Attributes:
        dataset: `DatasetXXX_Name`.
        converter: What `nnunet_pyconv convert` calls it.
        num_processes: nnU-Net's `-np`.
        target_spacing: Spacing `(Y, X)` to resample to, with plans and preprocessed data of their own; None keeps the
            images as they are.
    """

    dataset: str
    converter: str
    num_processes: int
    target_spacing: tuple[float, ...] | None = None

    def __str__(self) -> str:
        return self.dataset

    @property
    def dataset_id(self) -> str:
        """nnU-Net's dataset ID."""
        return str(int(self.dataset[len("Dataset") :][:3]))

    @property
    def source_plans(self) -> str:
        """Name of nnU-Net's plans."""
        return DEFAULT_SOURCE + self._suffix

    @property
    def plans(self) -> str:
        """Name of the plans with the paper's networks."""
        return PAPER_PLANS + self._suffix

    @property
    def _suffix(self) -> str:
        spacing = self.target_spacing
        return "" if spacing is None else "_spacing_" + "x".join(f"{step:g}" for step in spacing)

    @property
    def raw(self) -> Path:
        """The dataset folder."""
        return Path(nnUNet_raw.require()) / self.dataset

    @property
    def preprocessed(self) -> Path:
        """Its folder of preprocessed data and plans."""
        return Path(nnUNet_preprocessed.require()) / self.dataset

    def conversion(self, folds: Sequence[str]) -> str:
        """The command that converts it, for the user to name SRC; the paper's split has fold 0 alone."""
        protocol = "paper" if list(folds) == ["0"] else "clean"
        return f"nnunet_pyconv convert {self.converter} -i SRC --protocol {protocol}"

    @property
    def log(self) -> Path:
        """What its commands print."""
        return self.preprocessed / LOG

    @property
    def num_folds_given(self) -> int | None:
        """How many folds the dataset brings along in `splits_final.json`; None where nnU-Net makes its five.

        Raises:
            InputError: A damaged file.
        """
        file = self.raw / "splits_final.json"
        if not file.is_file():
            return None
        try:
            splits = load_json(str(file))
        except ValueError:
            splits = None
        if not (isinstance(splits, list) and splits):
            raise InputError(f"{file} is no list of folds; convert the dataset again with nnunet_pyconv convert")
        return len(splits)

    @property
    def is_preprocessed(self) -> bool:
        """Whether nnU-Net has planned and preprocessed every training case.

        Raises:
            InputError: The raw dataset lacks `dataset.json` or `labelsTr`.
        """
        plans_file = self.preprocessed / f"{self.source_plans}.json"
        if not plans_file.is_file():
            return False
        try:
            data = self.preprocessed / load_json(str(plans_file))["configurations"]["2d"]["data_identifier"]
        except (ValueError, LookupError, TypeError):  # damaged, or without this configuration
            return False
        try:
            file_ending = load_json(str(self.raw / "dataset.json"))["file_ending"]
            labels = [path for path in (self.raw / "labelsTr").iterdir() if path.name.endswith(file_ending)]
        except (OSError, ValueError, LookupError, TypeError) as error:
            raise InputError(
                f"{self.raw} is not a dataset of nnU-Net ({error!r}); convert it again with nnunet_pyconv convert"
            ) from error
        # nnU-Net writes a case's properties last
        return all((data / f"{path.name.removesuffix(file_ending)}.pkl").is_file() for path in labels)

    @property
    def is_done(self) -> bool:
        """Whether the cells of this dataset can start."""
        return self.is_preprocessed and (self.preprocessed / f"{self.plans}.json").is_file()

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
        """Run what is left."""
        return run_steps(str(self), self.steps(), self.log)
