"""The systems to compare: trained models in nnU-Net's results, and folders of predictions."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from batchgenerators.utilities.file_and_folder_operations import load_json
from nnunetv2.evaluation.evaluate_predictions import load_summary_json
from nnunetv2.paths import nnUNet_preprocessed, nnUNet_results

from nnunet_pyconv.errors import InputError
from nnunet_pyconv.evaluation.dataset import Dataset


@dataclass(frozen=True)
class CaseFiles:
    """The files of one case.

    Attributes:
        case: nnU-Net's case identifier.
        truth: Its label file.
        prediction: The predicted label file.
        probabilities: What nnU-Net's `--npz` wrote beside it, if it did.
    """

    case: str
    truth: Path
    prediction: Path
    probabilities: Path | None


@dataclass(frozen=True)
class System:
    """What predicted a set of cases.

    Attributes:
        key: `TRAINER__PLANS__CONFIGURATION`, or the name given with the predictions.
        cases: By name.
        checkpoints: The final checkpoint of each fold, None where nnU-Net wrote none; no fold for given predictions.
        network_class: Name of the network's class in the plans; empty for given predictions.
    """

    key: str
    cases: tuple[CaseFiles, ...]
    checkpoints: Mapping[str, Path | None] = field(default_factory=dict)
    network_class: str = ""

    @property
    def parts(self) -> tuple[str, ...]:
        """Trainer, plans and configuration; the name alone for given predictions."""
        return tuple(self.key.split("__"))

    @property
    def folds(self) -> tuple[str, ...]:
        """The folds whose validation cases these are."""
        return tuple(self.checkpoints)


@dataclass(frozen=True)
class Choice:
    """Which of the results to take; None takes all."""

    trainers: Sequence[str] | None = None
    plans: Sequence[str] | None = None
    configurations: Sequence[str] | None = None
    folds: Sequence[str] | None = None

    def takes(self, key: str) -> bool:
        """Whether a system of that key is wanted."""
        wanted = (self.trainers, self.plans, self.configurations)
        return all(names is None or part in names for part, names in zip(key.split("__"), wanted, strict=True))

    def require_all(self, datasets: Sequence[Dataset]) -> None:
        """Raise an InputError where a name that was given is of no model of the datasets."""
        keys = [model.name.split("__") for dataset in datasets for model in _models(dataset.name)]
        wanted = (("-tr", self.trainers), ("-p", self.plans), ("-c", self.configurations))
        for position, (flag, names) in enumerate(wanted):
            there = {key[position] for key in keys}
            if absent := [name for name in names or () if name not in there]:
                raise InputError(
                    f"{flag} {' '.join(absent)}: no trained model of {', '.join(dataset.name for dataset in datasets)} "
                    f"has this; there are {', '.join(sorted(there)) or 'none'}"
                )


def datasets_with_results(choice: Choice) -> list[str]:
    """Names of the datasets for which `nnUNet_results` has a model that is chosen."""
    return sorted({model.parent.name for model in _models("Dataset*") if choice.takes(model.name)})


def find_trained(dataset: Dataset, choice: Choice) -> list[System]:
    """Find the trained models of a dataset and their validation predictions.

    Args:
        dataset: The dataset.
        choice: Which of the models.

    Returns:
        One system a model, by key; all have the same cases. Empty if there is no model.

    Raises:
        InputError: A half-finished fold, one without cases, damaged splits, plans or summary, missing predictions, or
            systems that have different cases.
    """
    models = [model for model in _models(dataset.name) if choice.takes(model.name)]
    systems = [_trained(dataset, model, choice.folds) for model in models]
    _require_same_cases(systems)
    return systems


def find_predicted(dataset: Dataset, predictions: Mapping[str, Path], truth: Path | None) -> list[System]:
    """Find given predictions and their truth.

    Args:
        dataset: The dataset whose labels they have.
        predictions: Folder of predicted label files, by the name of what predicted them.
        truth: Folder of the label files; None takes the dataset's `labelsTs`.

    Returns:
        One system a folder, in the given order.

    Raises:
        InputError: A folder that isn't there, or missing predictions.
    """
    labels = truth or dataset.folder / "labelsTs"
    cases = sorted(path.name.removesuffix(dataset.file_ending) for path in labels.glob(f"[!.]*{dataset.file_ending}"))
    if not cases:
        raise InputError(f"{labels} holds no label *{dataset.file_ending}; give the folder of the truth with -gt")
    for name, folder in predictions.items():
        if not folder.is_dir():
            raise InputError(f"--predictions {name}={folder}: no such folder")
    return [
        System(
            name, tuple(_files(folder, case, labels / f"{case}{dataset.file_ending}", dataset, cases) for case in cases)
        )
        for name, folder in predictions.items()
    ]


def _models(dataset: str) -> list[Path]:
    """The folders `TRAINER__PLANS__CONFIGURATION` of a dataset's results; its name may be a pattern."""
    base = nnUNet_results.get()
    found = Path(base).glob(f"{dataset}/[!.]*__*__*") if base else []
    return sorted(path for path in found if path.is_dir() and path.name.count("__") == 2)


def _trained(dataset: Dataset, model: Path, folds: Sequence[str] | None) -> System:
    there = (path.name.removeprefix("fold_") for path in model.glob("fold_*"))
    # others are the user's, for example fold_0_old
    wanted = list(dict.fromkeys(folds or ())) or sorted(fold for fold in there if fold.isdigit() or fold == "all")
    if not wanted:
        raise InputError(f"{model} has no fold_X; choose others with -tr, -p and -c")
    cases: dict[str, CaseFiles] = {}
    checkpoints: dict[str, Path | None] = {}
    for fold in wanted:
        names = _validated_cases(dataset, model, fold)
        twice = cases.keys() & set(names)
        if twice:
            raise InputError(
                f"{model} validates {min(twice)} in fold {fold} and in another of folds {', '.join(wanted)}; "
                "choose folds without common cases with -f"
            )
        validation = model / f"fold_{fold}" / "validation"
        for name in names:
            cases[name] = _files(validation, name, dataset.training_truth(name), dataset, names)
        final = model / f"fold_{fold}" / "checkpoint_final.pth"
        checkpoints[fold] = final if final.is_file() else None
    ordered = tuple(cases[name] for name in sorted(cases))
    return System(model.name, ordered, checkpoints, _network_class(model))


def _validated_cases(dataset: Dataset, model: Path, fold: str) -> list[str]:
    """The cases that the validation of a fold has to have predicted."""
    folder = model / f"fold_{fold}"
    trainer, plans, configuration = model.name.split("__")
    leave_out = "or leave it out: choose with -tr, -p, -c and -f"
    if not folder.is_dir():
        raise InputError(f"{model} has no fold_{fold}; train it, {leave_out}")
    summary = folder / "validation" / "summary.json"
    # a training that goes on keeps checkpoint_latest.pth; a validation beside it is of an earlier one
    goes_on = (folder / "checkpoint_latest.pth").is_file() and not (folder / "checkpoint_final.pth").is_file()
    if goes_on or not summary.is_file():
        lacks = "checkpoint_final.pth" if goes_on else "validation/summary.json"
        raise InputError(
            f"{folder} is half-finished: it has no {lacks}. Let nnU-Net finish it (nnUNetv2_train "
            f"{int(dataset.name[7:10])} {configuration} {fold} -tr {trainer} -p {plans} --c), {leave_out}"
        )
    splits_file = Path(nnUNet_preprocessed.get() or "") / dataset.name / "splits_final.json"
    if fold.isdigit() and splits_file.is_file():
        try:
            splits = load_json(str(splits_file))
            names: list[str] = list(splits[int(fold)]["val"]) if int(fold) < len(splits) else []
            if not all(isinstance(name, str) for name in names):
                raise TypeError(f"val of fold {fold} holds other things than names")
        except (ValueError, LookupError, TypeError) as error:
            raise InputError(
                f"{splits_file} is not a splits_final.json of nnU-Net ({error!r}); expected a list with train and val "
                "for each fold: write it again"
            ) from error
        if names:
            return names
    # Without validation cases in a split, for instance where the results came from another machine: what nnU-Net itself
    # evaluated.
    try:
        entries = load_summary_json(str(summary))["metric_per_case"]
        names = [Path(entry["prediction_file"]).name.removesuffix(dataset.file_ending) for entry in entries]
    except Exception as error:  # a file that is not nnU-Net's fails in many ways
        raise InputError(
            f"{summary} is not a summary.json of nnU-Net ({error!r}); validate again with --val"
        ) from error
    if not names:
        raise InputError(f"{summary} has no case; give the fold cases to validate, and validate again with --val")
    return names


def _files(folder: Path, case: str, truth: Path, dataset: Dataset, cases: Iterable[str]) -> CaseFiles:
    prediction = folder / f"{case}{dataset.file_ending}"
    if not prediction.is_file():
        missing = [name for name in cases if not (folder / f"{name}{dataset.file_ending}").is_file()]
        shown = ", ".join(sorted(missing)[:5]) + (", ..." if len(missing) > 5 else "")
        raise InputError(
            f"{folder} lacks {len(missing)} prediction{'s' * (len(missing) > 1)} (*{dataset.file_ending}): {shown}. A "
            "mean over the others would be of other images; predict them, or leave this system out"
        )
    if not truth.is_file():
        raise InputError(f"{truth}, the truth of {prediction}, does not exist; convert the dataset again, or give -gt")
    probabilities = folder / f"{case}.npz"
    return CaseFiles(case, truth, prediction, probabilities if probabilities.is_file() else None)


def _network_class(model: Path) -> str:
    """Class of the network in the plans that nnU-Net keeps beside a model; empty if they say nothing."""
    plans_file = model / "plans.json"
    if not plans_file.is_file():
        return ""
    try:
        configurations = load_json(str(plans_file))["configurations"]
        names = [model.name.split("__")[2]]
        while (configuration := configurations.get(names[-1])) is not None:
            if "network_class_name" in configuration.get("architecture", {}):
                return str(configuration["architecture"]["network_class_name"])
            if (parent := configuration.get("inherits_from")) in names:
                break
            names.append(parent)
    except (ValueError, LookupError, TypeError, AttributeError) as error:
        raise InputError(
            f"{plans_file} are no plans of nnU-Net ({error!r}); copy those there that the model was trained with, or "
            "leave it out: choose with -tr, -p and -c"
        ) from error
    return ""


def _require_same_cases(systems: Sequence[System]) -> None:
    for system in systems[1:]:
        if [files.case for files in system.cases] != [files.case for files in systems[0].cases]:
            raise InputError(
                f"{systems[0].key} (folds {', '.join(systems[0].folds)}: {len(systems[0].cases)} cases) and "
                f"{system.key} (folds {', '.join(system.folds)}: {len(system.cases)} cases) were validated on "
                "different cases, so their scores can't be compared; choose common folds with -f, or systems with -tr, "
                "-p and -c"
            )
