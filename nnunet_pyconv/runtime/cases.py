"""Which images of a folder are predicted, and where the predictions go."""

from __future__ import annotations

import json
import re
import tempfile
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from nnunet_pyconv.runtime.errors import InputError
from nnunet_pyconv.runtime.model_file import DATASET, PLANS, ModelFile


@dataclass(frozen=True)
class CaseFiles:
    """A case to predict.

    Attributes:
        name: Of its files, without channel and ending.
        images: The file of each channel.
        labels: The file to write.
        previous: Labels of the previous stage, in a cascade.
    """

    name: str
    images: tuple[Path, ...]
    labels: Path
    previous: Path | None

    @property
    def probabilities(self) -> Path:
        """The file of probabilities, with nnU-Net's name."""
        return self._beside(".npz")

    @property
    def properties(self) -> Path:
        """What nnU-Net's ensembling needs beside the probabilities."""
        return self._beside(".pkl")

    def written(self, *, probabilities: bool) -> tuple[Path, ...]:
        """The files that a prediction writes, the labels first."""
        return (self.labels, self.probabilities, self.properties) if probabilities else (self.labels,)

    def _beside(self, ending: str) -> Path:
        return self.labels.with_name(self.name + ending)


def find_cases(source: Path, target: Path, ending: str, previous: Path | None) -> list[CaseFiles]:
    """List the cases of a folder, sorted by name.

    Args:
        source: Folder with `NAME_0000.png`, for several channels `NAME_0001.png` and so on.
        target: Folder for the predictions.
        ending: Of images and predictions.
        previous: Folder with predictions of the previous stage.

    Raises:
        InputError: A folder without such files, or with others of that ending; a prediction that is missing.
    """
    if not source.is_dir():
        raise InputError(f"-i {source} is no folder; give a folder with images such as case_0000{ending}")
    files = sorted(path for path in source.iterdir() if path.name.endswith(ending) and not path.name.startswith("."))
    if not files:
        others = sorted({"".join(path.suffixes[-2:]) for path in source.iterdir() if path.is_file()})
        raise InputError(
            f"-i {source} has no file that ends in {ending}, which the model expects"
            f"{', but ' + ', '.join(others[:5]) if others else ''}; give a folder with images such as case_0000{ending}"
        )
    pattern = re.compile(r"(?P<name>.+)_(?P<channel>\d{4})" + re.escape(ending))
    found: defaultdict[str, list[Path]] = defaultdict(list)
    for file in files:
        match = pattern.fullmatch(file.name)
        if match is None:
            raise InputError(
                f"{file} does not end in the number of its channel; name it "
                f"{file.name.removesuffix(ending)}_0000{ending}"
            )
        found[match["name"]].append(file)
    cases = [
        CaseFiles(
            name, tuple(images), target / f"{name}{ending}", None if previous is None else previous / f"{name}{ending}"
        )
        for name, images in sorted(found.items())
    ]
    if missing := [str(case.previous) for case in cases if case.previous is not None and not case.previous.is_file()]:
        raise InputError(
            f"-prev_stage_predictions: {', '.join(missing[:3])} missing; predict all cases with that stage"
        )
    return cases


def cases_left(cases: Sequence[CaseFiles], *, probabilities: bool, keep: bool, overwrite: bool) -> list[CaseFiles]:
    """Leave out what has been predicted.

    Args:
        cases: All cases.
        probabilities: Whether these are wanted, too.
        keep: Whether a prediction that is there stays.
        overwrite: Whether it is replaced.

    Raises:
        InputError: Predictions that are there, and neither of the two.
    """
    some_or_all = all if keep else any
    there = {case for case in cases if some_or_all(file.exists() for file in case.written(probabilities=probabilities))}
    if there and not keep and not overwrite:
        some = ", ".join(
            str(file)
            for case in sorted(there, key=lambda case: case.name)[:3]
            for file in case.written(probabilities=probabilities)
            if file.exists()
        )
        raise InputError(
            f"{len(there)} predictions exist already ({some}); keep them with --continue_prediction, replace them "
            "with --overwrite, or choose another folder with -o"
        )
    return [case for case in cases if not (keep and case in there)]


def write_beside(model: ModelFile, target: Path, arguments: Mapping[str, str], *, overwrite: bool) -> None:
    """Write what nnU-Net writes beside predictions, for its evaluation, ensembling and post-processing.

    Raises:
        InputError: A `plans.json` or `dataset.json` of something else, as in a raw dataset.
    """
    contents: dict[str, Mapping[str, object]] = {PLANS: model.plans, DATASET: model.dataset_json}
    for name, content in contents.items():
        file = target / name
        if file.exists() and not overwrite and file.read_text("utf-8", "replace") != _text(content):
            raise InputError(
                f"{file} exists already and belongs to something else; choose another folder with -o, or replace it "
                "with --overwrite"
            )
    for name, content in {**contents, "predict_from_raw_data_args.json": arguments}.items():
        with tempfile.TemporaryDirectory(prefix=f".{name}-", dir=target) as folder:  # other parts may be reading it
            hidden = Path(folder) / name
            hidden.write_text(_text(content), "utf-8")
            hidden.replace(target / name)


def _text(content: Mapping[str, object]) -> str:
    return json.dumps(content, indent=4)
