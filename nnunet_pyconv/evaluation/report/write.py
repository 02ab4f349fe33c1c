"""Writing a report: score, tabulate, draw, and put everything into a folder, whole or not at all."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from nnunet_pyconv.errors import InputError
from nnunet_pyconv.evaluation.comparison import Comparison, find_baselines, short_names
from nnunet_pyconv.evaluation.dataset import Dataset
from nnunet_pyconv.evaluation.metrics import THRESHOLDS, metrics
from nnunet_pyconv.evaluation.report.cases import case_pictures, save_figure_4
from nnunet_pyconv.evaluation.report.comparison_tables import cases_table, comparison_tables
from nnunet_pyconv.evaluation.report.curves import Curves, loss_curves, overlap_curves
from nnunet_pyconv.evaluation.report.page import GENERATOR, Section, render_page
from nnunet_pyconv.evaluation.report.paper_figures import NETWORK_NAMES, neurites
from nnunet_pyconv.evaluation.report.systems_table import section_notes, systems_table
from nnunet_pyconv.evaluation.scores import SystemScores, score_systems
from nnunet_pyconv.evaluation.systems import Choice, System, find_predicted, find_trained
from nnunet_pyconv.evaluation.training_log import TrainingLog, read_training_log
from nnunet_pyconv.writing import whole_folder

PAGE = "report.html"
TABLES, FIGURES = "tables", "figures"


@dataclass(frozen=True)
class Request:
    """What to report.

    Attributes:
        datasets: The datasets.
        choice: Which trained models; None takes none.
        predictions: Folders of predicted test cases of the one dataset, by name.
        truth: Folder of their truth; None takes `labelsTs`.
        baseline: Key or name of the system to compare with; None, or where a set of cases lacks it, follows the
            rules of `find_baselines`.
        tolerance: Of the normalised surface Dice, in mm, or in pixels where the files carry no spacing.
        num_processes: Cases to score at a time.
        command: The command line, for the page.
        trust: Whether to load checkpoints that would run code.
    """

    datasets: Sequence[Dataset]
    choice: Choice | None = field(default_factory=Choice)
    predictions: Mapping[str, Path] = field(default_factory=dict)
    truth: Path | None = None
    baseline: str | None = None
    tolerance: float = 1.0
    num_processes: int = 1
    command: str = ""
    trust: bool = False


def write_report(request: Request, folder: Path, *, overwrite: bool = False) -> Path:
    """Write a report.

    Args:
        request: What to report.
        folder: Where to; a folder of this report alone.
        overwrite: Whether to replace an earlier report there.

    Returns:
        The page, `report.html`; `tables` and `figures` lie beside it.

    Raises:
        InputError: Anything that can't be used; then nothing is written and what was there stays.
    """
    _check_output(folder, overwrite=overwrite)
    # all names and logs are checked before the first score is computed
    if request.choice is not None:
        request.choice.require_all(request.datasets)
    found = [(dataset, kind, systems) for dataset in request.datasets for kind, systems in _find(request, dataset)]
    if without := {dataset.name for dataset in request.datasets} - {dataset.name for dataset, _, _ in found}:
        raise InputError(
            f"no trained model of {', '.join(sorted(without))} in nnUNet_results that -tr, -p and -c choose; train "
            "one, or give --predictions NAME=FOLDER"
        )
    logs = [_read_logs(systems, trust=request.trust) for _, _, systems in found]
    baselines = find_baselines([systems for _, _, systems in found], NETWORK_NAMES, request.baseline)
    comparisons = [_compare(request, *entry, baseline) for entry, baseline in zip(found, baselines, strict=True)]
    with whole_folder(folder) as new:
        for name in (TABLES, FIGURES):
            (new / name).mkdir()
        sections = [_write_section(new, *entry) for entry in zip(comparisons, logs, strict=True)]
        (new / PAGE).write_text(render_page(sections, request.command), "utf-8")
    return folder / PAGE


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


def _find(request: Request, dataset: Dataset) -> list[tuple[str, list[System]]]:
    """The sets of cases of a dataset: validation cases of trained models in the paper's order, and test cases."""
    order = list(NETWORK_NAMES)
    trained = sorted(
        [] if request.choice is None else find_trained(dataset, request.choice),
        key=lambda system: order.index(system.parts[-1]) if system.parts[-1] in order else len(order),
    )
    found = [("validation", trained)]
    if request.predictions:
        found.append(("test", find_predicted(dataset, request.predictions, request.truth)))
    return [(kind, systems) for kind, systems in found if systems]


def _read_logs(systems: Sequence[System], *, trust: bool) -> dict[str, list[TrainingLog]]:
    """The logs of all folds that have a checkpoint, by the system's name."""
    logs = {}
    for system, name in zip(systems, short_names(systems, NETWORK_NAMES), strict=True):
        folds = [read_training_log(file, trust=trust) for file in system.checkpoints.values() if file is not None]
        if folds:
            logs[name] = folds
    return logs


def _compare(
    request: Request, dataset: Dataset, kind: str, systems: Sequence[System], baseline: tuple[int, str]
) -> Comparison:
    with_probabilities = all(files.probabilities is not None for system in systems for files in system.cases)
    rule = neurites(dataset, on_probabilities=with_probabilities)
    scores = score_systems(
        dataset, systems, tolerance=request.tolerance, neurites=rule, num_processes=request.num_processes
    )
    names = short_names(systems, NETWORK_NAMES)
    cases, folds = systems[0].cases, systems[0].folds
    cases_are = f"{len(cases)} {kind} case{'s' * (len(cases) > 1)}"
    if folds:
        cases_are += f" of fold{'s' * (len(folds) > 1)} {', '.join(folds)}"
    return Comparison(
        dataset,
        cases_are,
        f"{dataset.name}_{kind}",
        scores,
        names,
        *baseline,
        metrics(
            unit=dataset.unit(cases[0].truth),
            tolerance=request.tolerance,
            neurites=None if rule is None else _neurites_from(scores, names, on_probabilities=with_probabilities),
        ),
    )


def _neurites_from(scores: Sequence[SystemScores], names: Sequence[str], *, on_probabilities: bool) -> str:
    if not on_probabilities:
        return (
            "From the predicted labels, since not every case has probabilities (validate with nnU-Net's --npz, or "
            "predict with --save_probabilities, for the challenge's maximum over thresholds)."
        )
    steps = f"{THRESHOLDS[0]:g} to {THRESHOLDS[-1]:g} in steps of {THRESHOLDS[1]:g}"
    chosen = "; ".join(
        f"{name} at {score.thresholds['v_rand']:g} and {score.thresholds['v_info']:g}"
        for name, score in zip(names, scores, strict=True)
    )
    return (
        f"From probabilities, the largest mean of thresholds {steps}, chosen on these very images as the challenge "
        f"does (V_rand and V_info of {chosen})."
    )


def _write_section(folder: Path, comparison: Comparison, logs: Mapping[str, Sequence[TrainingLog]]) -> Section:
    tables = [*comparison_tables(comparison), systems_table(comparison, logs)]
    for table in tables:
        (folder / TABLES / f"{table.slug}.md").write_text(table.to_markdown(), "utf-8")
    for table in [*tables, cases_table(comparison)]:
        (folder / TABLES / f"{table.slug}.csv").write_text(table.to_csv(), "utf-8")
    curves: list[Curves] = []
    if logs:
        curves = [loss_curves(comparison.slug, logs), overlap_curves(comparison.slug, logs)]
    for figure in curves:
        (folder / FIGURES / f"{figure.slug}.svg").write_text(figure.svg, "utf-8")
        (folder / FIGURES / f"{figure.slug}.png").write_bytes(figure.png)
    cases = case_pictures(comparison)
    if cases:
        save_figure_4(
            [folder / FIGURES / f"{comparison.slug}_figure_4.{ending}" for ending in ("png", "svg")],
            comparison.names,
            cases,
        )
    return Section(comparison, section_notes(comparison), tables, curves, cases)
