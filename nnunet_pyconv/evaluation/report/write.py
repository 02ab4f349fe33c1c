"""Writing a report: score, tabulate, draw, and put everything into a folder, whole or not at all."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from nnunet_pyconv.errors import InputError
from nnunet_pyconv.evaluation.comparison import Baseline, Comparison, find_baselines, short_names
from nnunet_pyconv.evaluation.dataset import RawDataset, find_dataset
from nnunet_pyconv.evaluation.metrics import METRICS, THRESHOLDS, SegmentMetric
from nnunet_pyconv.evaluation.models import Model, ModelFilter, datasets_with_results, find_predicted, find_trained
from nnunet_pyconv.evaluation.report.cases import case_pictures, save_figure_4
from nnunet_pyconv.evaluation.report.comparison_tables import cases_table, comparison_tables
from nnunet_pyconv.evaluation.report.curves import Curves, loss_curves, overlap_curves
from nnunet_pyconv.evaluation.report.models_table import models_table
from nnunet_pyconv.evaluation.report.notes import section_notes
from nnunet_pyconv.evaluation.report.page import GENERATOR, Section, render_page
from nnunet_pyconv.evaluation.report.paper_figures import NETWORK_NAMES, neurites
from nnunet_pyconv.evaluation.report.request import ReportRequest
from nnunet_pyconv.evaluation.scores import ModelScores, score_models
from nnunet_pyconv.evaluation.training_log import TrainingLog, read_training_log
from nnunet_pyconv.extras import require_extra
from nnunet_pyconv.writing import whole_folder

PAGE = "report.html"
TABLES, FIGURES = "tables", "figures"
MODULES = ("jinja2", "monai", "PIL")
"""What the extra of the report installs."""


@dataclass(frozen=True)
class Report:
    """A report that is written.

    Attributes:
        page: `report.html`; `tables` and `figures` lie beside it.
        sections: What it says of each set of cases.
    """

    page: Path
    sections: Sequence[Section]


@dataclass(frozen=True)
class _CaseSet:
    """Models on one set of cases of a dataset; kind is `validation` or `test`."""

    dataset: RawDataset
    kind: str
    models: Sequence[Model]


def write_report(request: ReportRequest) -> Report:
    """Write a report.

    Args:
        request: What to report.

    Returns:
        What was written.

    Raises:
        InputError: Anything that can't be used; then nothing is written and what was there stays.
    """
    require_extra("report", *MODULES)
    _check_output(request.folder, overwrite=request.overwrite)
    # all names and logs are checked before the first score is computed
    sets = _case_sets(request)
    logs = [_read_logs(each.models, trust=request.trust) for each in sets]
    baselines = find_baselines([each.models for each in sets], NETWORK_NAMES, request.baseline)
    comparisons = [_compare(request, each, baseline) for each, baseline in zip(sets, baselines, strict=True)]
    with whole_folder(request.folder) as new:
        for name in (TABLES, FIGURES):
            (new / name).mkdir()
        sections = [_write_section(new, *entry) for entry in zip(comparisons, logs, strict=True)]
        _write_text(new / PAGE, render_page(sections, request.command()))
    return Report(request.folder / PAGE, sections)


def _check_output(folder: Path, *, overwrite: bool) -> None:
    if Path.cwd().is_relative_to(folder.resolve()):
        raise InputError(f"-o {folder} is or holds the current folder, and would be moved away; give another")
    if not folder.exists():
        return
    page = folder / PAGE
    ours = page.is_file() and GENERATOR in page.read_text("utf-8", errors="replace")
    # hidden ones are a file manager's
    others = {path.name for path in folder.glob("[!.]*")} - {PAGE, TABLES, FIGURES}
    if not ours or others:
        what = f"holds other things too ({', '.join(sorted(others))})" if ours else "is not a report"
        raise InputError(f"{folder} exists and {what}; choose another folder with -o")
    if not overwrite:
        raise InputError(f"{folder} exists already; replace it with --overwrite, or choose another folder with -o")


def _case_sets(request: ReportRequest) -> list[_CaseSet]:
    """The sets of cases of all datasets: validation cases of trained models in the paper's order, and test cases."""
    names = request.datasets or datasets_with_results(request.models or ModelFilter())
    if not names:
        raise InputError(
            "nnUNet_results holds no trained model that -tr, -p and -c choose; train one, or give -d and "
            "--predictions NAME=FOLDER"
        )
    datasets = list({dataset.name: dataset for dataset in map(find_dataset, names)}.values())
    if request.predictions and len(datasets) > 1:
        listed = ", ".join(dataset.name for dataset in datasets)
        raise InputError(f"--predictions are of one dataset, and there are {listed}; choose it with -d")
    if request.models is not None:
        request.models.require_all(datasets)
    sets = [each for dataset in datasets for each in _case_sets_of(request, dataset) if each.models]
    if without := {dataset.name for dataset in datasets} - {each.dataset.name for each in sets}:
        raise InputError(
            f"no trained model of {', '.join(sorted(without))} in nnUNet_results that -tr, -p and -c choose; train "
            "one, or give --predictions NAME=FOLDER"
        )
    return sets


def _case_sets_of(request: ReportRequest, dataset: RawDataset) -> list[_CaseSet]:
    order = list(NETWORK_NAMES)
    trained = [] if request.models is None else find_trained(dataset, request.models)
    trained.sort(
        key=lambda model: (
            order.index(model.setup.configuration) if model.setup and model.setup.configuration in order else len(order)
        )
    )
    found = [_CaseSet(dataset, "validation", trained)]
    if request.predictions:
        found.append(_CaseSet(dataset, "test", find_predicted(dataset, request.predictions, request.truth)))
    return found


def _read_logs(models: Sequence[Model], *, trust: bool) -> dict[str, list[TrainingLog]]:
    """The logs of all folds that have a checkpoint, by the model's short name."""
    logs = {}
    for model, name in zip(models, short_names(models, NETWORK_NAMES), strict=True):
        folds = [read_training_log(file, trust=trust) for file in model.checkpoints.values() if file is not None]
        if folds:
            logs[name] = folds
    return logs


def _compare(request: ReportRequest, cases: _CaseSet, baseline: Baseline) -> Comparison:
    dataset, models = cases.dataset, cases.models
    with_probabilities = all(files.probabilities is not None for model in models for files in model.cases)
    rule = neurites(dataset, on_probabilities=with_probabilities)
    scores = score_models(
        dataset, models, tolerance=request.tolerance, neurites=rule, num_processes=request.num_processes
    )
    names = short_names(models, NETWORK_NAMES)
    files, folds = models[0].cases, models[0].folds
    description = f"{len(files)} {cases.kind} case{'s' * (len(files) > 1)}"
    if folds:
        description += f" of fold{'s' * (len(folds) > 1)} {', '.join(folds)}"
    unit = dataset.unit(files[0].truth)
    return Comparison(
        dataset,
        description,
        f"{dataset.name}_{cases.kind}",
        scores,
        names,
        baseline,
        [metric for metric in METRICS if rule is not None or not isinstance(metric, SegmentMetric)],
        {
            "unit": unit,
            "unit_name": "millimetres" if unit == "mm" else "pixels, since the files carry no spacing",
            "tolerance": request.tolerance,
            "neurites": "" if rule is None else _neurites_from(scores, names, on_probabilities=with_probabilities),
        },
    )


def _neurites_from(scores: Sequence[ModelScores], names: Sequence[str], *, on_probabilities: bool) -> str:
    if not on_probabilities:
        return (
            "From the predicted labels, since not every case has probabilities (validate with nnU-Net's --npz, or "
            "predict with --save_probabilities)."
        )
    steps = f"{THRESHOLDS[0]:g}, {THRESHOLDS[1]:g}, ..., {THRESHOLDS[-1]:g}"
    titles = {metric.key: metric.title for metric in METRICS}
    chosen = ", ".join(
        " and ".join(f"{titles[key]} {threshold:g}" for key, threshold in score.thresholds.items()) + f" for {name}"
        for name, score in zip(names, scores, strict=True)
    )
    return (
        f"From probabilities, the largest mean of thresholds {steps}, chosen on these very images as the challenge "
        f"does ({chosen})."
    )


def _write_section(folder: Path, comparison: Comparison, logs: Mapping[str, Sequence[TrainingLog]]) -> Section:
    tables = [*comparison_tables(comparison), models_table(comparison, logs)]
    for table in tables:
        _write_text(folder / TABLES / f"{table.slug}.md", table.to_markdown())
    for table in [*tables, cases_table(comparison)]:
        _write_text(folder / TABLES / f"{table.slug}.csv", table.to_csv())
    curves: list[Curves] = []
    if logs:
        curves = [loss_curves(comparison.slug, logs), overlap_curves(comparison.slug, logs)]
    for figure in curves:
        _write_text(folder / FIGURES / f"{figure.slug}.svg", figure.svg)
        (folder / FIGURES / f"{figure.slug}.png").write_bytes(figure.png)
    cases = case_pictures(comparison)
    if cases:
        save_figure_4(
            [folder / FIGURES / f"{comparison.slug}_figure_4.{ending}" for ending in ("png", "svg")],
            comparison.names,
            cases,
        )
    return Section(comparison, section_notes(comparison), tables, curves, cases)


def _write_text(file: Path, text: str) -> None:
    """Write text; halves of characters (lone surrogates), which names of files and classes may hold, become `?`."""
    file.write_text(text, "utf-8", errors="replace")
