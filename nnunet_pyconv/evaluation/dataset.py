"""What an evaluation has to know of a dataset: its classes, its truth, its reader."""

from __future__ import annotations

import io
from contextlib import redirect_stderr
from dataclasses import dataclass, field
from functools import cached_property
from os.path import expandvars
from pathlib import Path
from typing import Any

from batchgenerators.utilities.file_and_folder_operations import load_json
from nnunetv2.imageio.natural_image_reader_writer import NaturalImage2DIO
from nnunetv2.imageio.reader_writer_registry import determine_reader_writer_from_dataset_json
from nnunetv2.imageio.tif_reader_writer import Tiff3DIO
from nnunetv2.utilities.label_handling.label_handling import LabelManager

from nnunet_pyconv.errors import InputError
from nnunet_pyconv.evaluation.metrics import Label
from nnunet_pyconv.nnunet_folders import dataset_name, nnunet_folder


@dataclass(frozen=True)
class RawDataset:
    """A dataset in nnU-Net's raw format.

    Attributes:
        folder: `nnUNet_raw/DatasetXXX_Name`.
        dataset_json: Its `dataset.json`.
    """

    folder: Path
    dataset_json: dict[str, Any]
    _readers: dict[str, Any] = field(default_factory=dict, repr=False, compare=False)

    @property
    def name(self) -> str:
        """`DatasetXXX_Name`."""
        return self.folder.name

    @property
    def file_ending(self) -> str:
        """That of labels and predictions, for example `.png`."""
        ending: str = self.dataset_json["file_ending"]
        return ending

    @cached_property
    def classes(self) -> dict[str, Label]:
        """The foreground classes or, in region-based training, regions: name to label or labels.

        Raises:
            ValueError: A label that is no whole number, or two names for one label.
        """
        names: dict[Label, str] = {}
        for name, value in self.dataset_json["labels"].items():
            label = tuple(map(_whole, value)) if isinstance(value, (list, tuple)) else _whole(value)
            if label in names:
                raise ValueError(f"{names[label]!r} and {name!r} are both label {value}")
            names[label] = name
        manager = self._labels
        values = manager.foreground_regions if manager.has_regions else manager.foreground_labels
        keys = [tuple(map(int, value)) if isinstance(value, (list, tuple)) else int(value) for value in values]
        return {names[key]: key for key in keys}

    @property
    def ignore_label(self) -> int | None:
        """Label of pixels that don't count, if there is one."""
        label: int | None = self._labels.ignore_label
        return label

    @property
    def labels(self) -> set[int]:
        """All labels that a prediction may have, background included."""
        return {int(label) for label in self._labels.all_labels}

    @cached_property
    def _labels(self) -> Any:
        return LabelManager(self.dataset_json["labels"], self.dataset_json.get("regions_class_order"))

    def reader(self, example: Path, *, afresh: bool = False) -> Any:
        """Return nnU-Net's reader for such files, a `BaseReaderWriter`.

        Args:
            example: One of them; nnU-Net tries to read it.
            afresh: Whether to try, also where a reader is known for files with this ending.
        """
        ending = example.suffix
        if afresh or ending not in self._readers:
            # nnU-Net tries its readers on the file and prints the traceback of each that fails
            with redirect_stderr(io.StringIO()):
                try:
                    reader = determine_reader_writer_from_dataset_json(self.dataset_json, str(example), verbose=False)
                except RuntimeError:  # none can read it: the first says why, when it reads
                    reader = determine_reader_writer_from_dataset_json(self.dataset_json, verbose=False)
            self._readers[ending] = reader()
        return self._readers[ending]

    def unit(self, example: Path) -> str:
        """Return the unit of distances: `mm`, or `px` where the files carry no spacing."""
        reader = self.reader(example)
        if isinstance(reader, Tiff3DIO):  # the spacing is in a file beside it, if there is one
            return "mm" if example.with_suffix(".json").is_file() else "px"
        return "px" if isinstance(reader, NaturalImage2DIO) else "mm"

    @property
    def test_cases_train(self) -> bool | None:
        """Whether a test case is a training case too, as in the paper's split; None without labelled test cases."""
        test, training = (
            {path.name for path in (self.folder / name).glob(f"[!.]*{self.file_ending}")}
            for name in ("labelsTs", "labelsTr")
        )
        return not test.isdisjoint(training) if test else None

    def training_truth(self, case: str) -> Path:
        """Return the label file of a training case, in `labelsTr` or where `dataset.json` says."""
        listed = self.dataset_json.get("dataset", {}).get(case)
        return self.folder / (expandvars(listed["label"]) if listed else f"labelsTr/{case}{self.file_ending}")

    def image(self, case: str, *, test: bool) -> Path | None:
        """Return the file of the first channel of a training or a test case, None if there is none."""
        listed = self.dataset_json.get("dataset", {}).get(case)
        training = expandvars(listed["images"][0]) if listed else f"imagesTr/{case}_0000{self.file_ending}"
        candidates = [f"imagesTs/{case}_0000{self.file_ending}", training] if test else [training]
        return next((self.folder / name for name in candidates if (self.folder / name).is_file()), None)


def _whole(value: Any) -> int:
    if isinstance(value, bool) or int(value) != value:
        raise ValueError(f"the label {value!r} is no whole number")
    return int(value)


def find_dataset(name_or_id: str | int) -> RawDataset:
    """Find a dataset in `nnUNet_raw`.

    Args:
        name_or_id: As nnU-Net takes it: `312` or `Dataset312_ISBICell`.

    Raises:
        InputError: `nnUNet_raw` unset, no such dataset, or one without a usable `dataset.json`.
    """
    folder = nnunet_folder("nnUNet_raw") / dataset_name(name_or_id)
    file = folder / "dataset.json"
    try:
        dataset = RawDataset(folder, load_json(str(file)))
        if not dataset.classes or not dataset.file_ending:
            raise InputError(f"{file} declares no foreground class; expected labels and a file_ending")
    except InputError:
        raise
    except FileNotFoundError as error:
        raise InputError(
            f"{file} does not exist, so the truth of {folder.name} is unknown; set nnUNet_raw to the folder with the "
            "dataset, or choose others with -d"
        ) from error
    except Exception as error:  # a file that is not nnU-Net's fails in many ways
        raise InputError(f"{file} is not a dataset.json of nnU-Net ({error!r}); convert the dataset again") from error
    return dataset
