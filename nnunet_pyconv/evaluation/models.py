"""The models to compare: trained ones in nnU-Net's results, and folders of predictions."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from batchgenerators.utilities.file_and_folder_operations import load_json
from nnunetv2.evaluation.evaluate_predictions import load_summary_json

from nnunet_pyconv.errors import InputError
from nnunet_pyconv.evaluation.dataset import RawDataset
from nnunet_pyconv.evaluation.planned_model import PlannedModel, read_planned_model
from nnunet_pyconv.names import FINAL_CHECKPOINT, LATEST_CHECKPOINT
from nnunet_pyconv.nnunet_folders import Setup, dataset_id, nnunet_folder_if_set


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
class Model:
    """What predicted a set of cases.

    Attributes:
        name: `TRAINER__PLANS__CONFIGURATION`, perhaps with `/fold_K`, or the name given with the predictions.
        cases: By name.
        setup: Trainer, plans and configuration; None for predictions of something else.
        checkpoints: The final checkpoint of each fold, None where nnU-Net wrote none; no fold for given predictions.
        planned: What its plans say of it.
        predicted_by: The fold whose network made given predictions, as their name says; empty where it doesn't.
    """

    name: str
    cases: tuple[CaseFiles, ...]
    setup: Setup | None = None
    checkpoints: Mapping[str, Path | None] = field(default_factory=dict)
    planned: PlannedModel = field(default_factory=PlannedModel)
    predicted_by: str = ""

    @property
    def folds(self) -> tuple[str, ...]:
        """The folds whose validation cases these are."""
        return tuple(self.checkpoints)


@dataclass(frozen=True)
class ModelFilter:
    """Which of the trained models to take; an empty sequence takes all."""

    trainers: Sequence[str] = ()
    plans: Sequence[str] = ()
    configurations: Sequence[str] = ()
    setups: Sequence[Setup] = ()
    folds: Sequence[str] = ()

    def takes(self, setup: Setup) -> bool:
        """Whether a model of that setup is wanted."""
        return all(not wanted or part in wanted for _, wanted, part in self._parts(setup))

    def require_all(self, datasets: Sequence[RawDataset]) -> None:
        """Raise an InputError where a name that was given is of no model of the datasets."""
        found = [self._parts(setup) for dataset in datasets for setup in _trained_models(dataset.name)]
        for position, (flag, wanted, _) in enumerate(self._parts(Setup("", "", ""))):
            known = {parts[position][2] for parts in found}
            if absent := [str(name) for name in wanted if name not in known]:
                raise InputError(
                    f"{flag} {' '.join(absent)}: no trained model of {', '.join(dataset.name for dataset in datasets)} "
                    f"has this; there are {', '.join(sorted(map(str, known))) or 'none'}"
                )

    def _parts(self, setup: Setup) -> tuple[tuple[str, Sequence[object], object], ...]:
        """Flag, what is wanted and what a setup has."""
        return (
            ("-tr", self.trainers, setup.trainer),
            ("-p", self.plans, setup.plans),
            ("-c", self.configurations, setup.configuration),
            ("--models", self.setups, setup),
        )


def datasets_with_results(chosen: ModelFilter) -> list[str]:
    """Names of the datasets for which `nnUNet_results` has a model that is chosen."""
    results = nnunet_folder_if_set("nnUNet_results")
    names = sorted(path.name for path in results.glob("Dataset*") if path.is_dir()) if results else []
    return [name for name in names if any(chosen.takes(setup) for setup in _trained_models(name))]


def find_trained(dataset: RawDataset, chosen: ModelFilter) -> list[Model]:
    """Find the trained models of a dataset and their validation predictions.

    Args:
        dataset: The dataset.
        chosen: Which of the models.

    Returns:
        The models by name; all have the same cases. Empty if there is no model.

    Raises:
        InputError: A half-finished fold, one without cases, damaged splits, plans or summary, missing predictions, or
            models that have different cases.
    """
    found = [
        _trained(dataset, setup, folder, chosen.folds)
        for setup, folder in _trained_models(dataset.name).items()
        if chosen.takes(setup)
    ]
    _require_same_cases(found)
    return found


def find_predicted(dataset: RawDataset, predictions: Mapping[str, Path], truth: Path | None) -> list[Model]:
    """Find given predictions and their truth.

    Args:
        dataset: The dataset whose labels they have.
        predictions: Folder of predicted label files, by the name of what predicted them: that of a trained model
            (`TRAINER__PLANS__CONFIGURATION`), of one of its folds (the same with `/fold_0`), or any other.
        truth: Folder of the label files; None takes the dataset's `labelsTs`.

    Returns:
        One model a folder, in the given order.

    Raises:
        InputError: A folder that does not exist, or missing predictions.
    """
    labels = truth or dataset.folder / "labelsTs"
    cases = sorted(path.name.removesuffix(dataset.file_ending) for path in labels.glob(f"[!.]*{dataset.file_ending}"))
    if not cases:
        raise InputError(f"{labels} holds no label *{dataset.file_ending}; give the folder of the truth with -gt")
    trained = _trained_models(dataset.name)
    found = []
    for name, folder in predictions.items():
        if not folder.is_dir():
            raise InputError(f"--predictions {name}={folder}: no such folder")
        files = [_files(folder, case, labels / f"{case}{dataset.file_ending}", dataset, cases) for case in cases]
        model_name, _, fold = name.partition("/fold_")
        setup = Setup.parse(model_name)
        planned = read_planned_model(trained[setup], setup) if setup in trained else PlannedModel()
        found.append(Model(name, tuple(files), setup, planned=planned, predicted_by=fold))
    return found


def _trained_models(dataset: str) -> dict[Setup, Path]:
    """The models in a dataset's results, by name."""
    results = nnunet_folder_if_set("nnUNet_results")
    folders = sorted(path for path in (results / dataset).glob("*") if path.is_dir()) if results else []
    named = ((Setup.parse(folder.name), folder) for folder in folders)
    return {setup: folder for setup, folder in named if setup is not None}


def _trained(dataset: RawDataset, setup: Setup, folder: Path, folds: Sequence[str]) -> Model:
    known = (path.name.removeprefix("fold_") for path in folder.glob("fold_*"))
    # others are the user's, for example fold_0_old
    wanted = list(dict.fromkeys(folds)) or sorted(fold for fold in known if fold.isdigit() or fold == "all")
    if not wanted:
        raise InputError(f"{folder} has no fold_X; choose others with -tr, -p and -c")
    cases: dict[str, CaseFiles] = {}
    checkpoints: dict[str, Path | None] = {}
    for fold in wanted:
        names = _validated_cases(dataset, setup, folder, fold)
        twice = cases.keys() & set(names)
        if twice:
            raise InputError(
                f"{folder} validates {min(twice)} in fold {fold} and in another of folds {', '.join(wanted)}; "
                "choose folds without common cases with -f"
            )
        validation = folder / f"fold_{fold}" / "validation"
        for name in names:
            cases[name] = _files(validation, name, dataset.training_truth(name), dataset, names)
        final = folder / f"fold_{fold}" / FINAL_CHECKPOINT
        checkpoints[fold] = final if final.is_file() else None
    ordered = tuple(cases[name] for name in sorted(cases))
    return Model(str(setup), ordered, setup, checkpoints, read_planned_model(folder, setup))


def _validated_cases(dataset: RawDataset, setup: Setup, model_folder: Path, fold: str) -> list[str]:
    """The cases that the validation of a fold has to have predicted."""
    folder = model_folder / f"fold_{fold}"
    leave_out = "or leave it out: choose with -tr, -p, -c and -f"
    if not folder.is_dir():
        raise InputError(f"{model_folder} has no fold_{fold}; train it, {leave_out}")
    summary = folder / "validation" / "summary.json"
    # a training that goes on keeps checkpoint_latest.pth; a validation beside it is of an earlier one
    goes_on = (folder / LATEST_CHECKPOINT).is_file() and not (folder / FINAL_CHECKPOINT).is_file()
    if goes_on or not summary.is_file():
        lacks = FINAL_CHECKPOINT if goes_on else "validation/summary.json"
        raise InputError(
            f"{folder} is half-finished: it has no {lacks}. Let nnU-Net finish it (nnUNetv2_train "
            f"{dataset_id(dataset.name)} {setup.configuration} {fold} -tr {setup.trainer} -p {setup.plans} --c), "
            f"{leave_out}"
        )
    preprocessed = nnunet_folder_if_set("nnUNet_preprocessed")
    splits_file = preprocessed / dataset.name / "splits_final.json" if preprocessed else None
    if fold.isdigit() and splits_file is not None and splits_file.is_file():
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


def _files(folder: Path, case: str, truth: Path, dataset: RawDataset, cases: Iterable[str]) -> CaseFiles:
    prediction = folder / f"{case}{dataset.file_ending}"
    if not prediction.is_file():
        missing = [name for name in cases if not (folder / f"{name}{dataset.file_ending}").is_file()]
        shown = ", ".join(sorted(missing)[:5]) + (", ..." if len(missing) > 5 else "")
        raise InputError(
            f"{folder} lacks {len(missing)} prediction{'s' * (len(missing) > 1)} (*{dataset.file_ending}): {shown}. A "
            "mean over the others would be of other images; predict them, or leave this model out"
        )
    if not truth.is_file():
        raise InputError(f"{truth}, the truth of {prediction}, does not exist; convert the dataset again, or give -gt")
    probabilities = folder / f"{case}.npz"
    return CaseFiles(case, truth, prediction, probabilities if probabilities.is_file() else None)


def _require_same_cases(models: Sequence[Model]) -> None:
    for model in models[1:]:
        if [files.case for files in model.cases] != [files.case for files in models[0].cases]:
            raise InputError(
                f"{models[0].name} (folds {', '.join(models[0].folds)}: {len(models[0].cases)} cases) and "
                f"{model.name} (folds {', '.join(model.folds)}: {len(model.cases)} cases) were validated on "
                "different cases, so their scores can't be compared; choose common folds with -f, or models with -tr, "
                "-p and -c"
            )
