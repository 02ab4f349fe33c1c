"""The tables of a comparison: Table 2, its tests, its classes, the paper's figures, every case."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence

import numpy as np

from nnunet_pyconv.evaluation.comparison import Comparison
from nnunet_pyconv.evaluation.metrics import (
    DICE,
    IOU,
    ClassMetric,
    Estimate,
    Metric,
    difference,
    estimate,
    holm,
    smallest_p,
)
from nnunet_pyconv.evaluation.metrics.statistics import RESAMPLES
from nnunet_pyconv.evaluation.models import Model
from nnunet_pyconv.evaluation.report.notes import shortened_notes
from nnunet_pyconv.evaluation.report.paper_figures import (
    NETWORK_NAMES,
    comparable,
    impossible,
    paper_dataset,
    printed_overlaps,
)
from nnunet_pyconv.evaluation.report.tables import Column, ReportTable, TableCell, shown
from nnunet_pyconv.paper import CITATION, Overlap

_PRINTED: Mapping[Metric, tuple[str, Callable[[Overlap], float]]] = {
    IOU: ("MIoU", lambda overlap: overlap.iou),
    DICE: ("Dice", lambda overlap: overlap.dice),
}
"""What the paper prints: its name for a metric, and the number."""


def comparison_tables(comparison: Comparison) -> list[ReportTable]:
    """All tables of a comparison that have something to say."""
    tables = [scores_table(comparison)]
    if len(comparison.scores) > 1:
        tables.append(differences_table(comparison))
    if len(comparison.dataset.classes) > 1:
        tables.append(classes_table(comparison))
    if paper_dataset(comparison.dataset) is not None:
        tables.append(paper_table(comparison))
    return tables


def scores_table(comparison: Comparison) -> ReportTable:
    """Table 2: mean of each score over the images, with the paper's figures beside IoU and Dice."""
    paper = _paper_rows(comparison)
    columns = [Column("model", "Model", numeric=False)]
    for metric in comparison.metrics:
        columns.append(_column(metric, comparison))
        if any(paper) and metric in _PRINTED:
            columns.append(Column(f"paper_{metric.key}", f"paper's {_PRINTED[metric][0]}"))
    columns.append(Column("images", "Images"))

    estimates = [
        [estimate(scores.per_image[metric.key]) for metric in comparison.metrics] for scores in comparison.scores
    ]
    best = [_best([row[column].mean for row in estimates], metric) for column, metric in enumerate(comparison.metrics)]
    rows, footnotes = [], {}
    for index, name in enumerate(comparison.names):
        cells = [TableCell(name, small="baseline" if index == comparison.baseline.index and len(paper) > 1 else "")]
        printed = paper[index]
        why = impossible(printed) if printed else ""
        if why:
            footnotes["a"] = why
        for column, metric in enumerate(comparison.metrics):
            cells.append(_estimate_cell(estimates[index][column], metric, best=index in best[column]))
            if any(paper) and metric in _PRINTED:
                value = math.nan if printed is None else _PRINTED[metric][1](printed)
                cells.append(TableCell(value, 4, footnote="a" if why else ""))
        cells.append(TableCell(estimate(comparison.scores[index].per_image[DICE.key]).images))
        rows.append(cells)
    wording = comparison.wording
    notes = shortened_notes(comparison)
    notes += [f"{metric.titled(wording)}: {metric.explained(wording)}" for metric in comparison.metrics]
    return ReportTable(
        f"{comparison.slug}_table_2",
        "Table 2: scores",
        f"Mean over the {comparison.description}; below it the percentile bootstrap 95 % interval ({RESAMPLES:,} "
        "resamples of images). Bold: the best of a column. Images: how many have a Dice, see the rule for empty masks."
        + (" With several classes, an image's score is the mean over the classes it has." * _several(comparison)),
        columns,
        rows,
        notes,
        tuple(footnotes.items()),
    )


def differences_table(comparison: Comparison) -> ReportTable:
    """Every other model against the baseline, on the same images."""
    baseline = comparison.scores[comparison.baseline.index]
    others = [index for index in range(len(comparison.scores)) if index != comparison.baseline.index]
    columns = [Column("model", "Model", numeric=False)]
    by_metric = []
    for metric in comparison.metrics:
        better = metric.larger_is_better
        columns.append(
            Column(
                metric.key, f"Δ {metric.titled(comparison.wording)}", larger_is_better=better, extras=("p", "p_holm")
            )
        )
        found = [
            difference(comparison.scores[index].per_image[metric.key], baseline.per_image[metric.key])
            for index in others
        ]
        by_metric.append(list(zip(found, holm([result.p for result in found]), strict=True)))
    rows = []
    for row, index in enumerate(others):
        cells = [TableCell(comparison.names[index])]
        for metric, results in zip(comparison.metrics, by_metric, strict=True):
            result, adjusted = results[row]
            p = "p < 0.0001" if adjusted < 0.00005 else f"p {shown(adjusted, 4)}"
            cells.append(TableCell(result.mean, metric.decimals, signed=True, small=p, extras=(result.p, adjusted)))
        rows.append(cells)
    images = len(comparison.cases)
    return ReportTable(
        f"{comparison.slug}_differences",
        f"Differences to {comparison.names[comparison.baseline.index]}",
        f"Δ: mean over images of model minus {comparison.names[comparison.baseline.index]}. p: two-sided Wilcoxon "
        "signed-rank test of the paired images"
        + (
            f", adjusted by Holm's method for the {len(others)} comparisons of a column (the CSV file has both)."
            if len(others) > 1
            else "."
        ),
        columns,
        rows,
        [
            f"With {images} image{'s' * (images > 1)} the test can't give a p below {smallest_p(images):.2g}, "
            "and with fewer that differ not even that; images of one specimen or patient are not independent: read p "
            "as a guide.",
        ],
    )


def classes_table(comparison: Comparison) -> ReportTable:
    """The scores of each class."""
    scored = [metric for metric in comparison.metrics if isinstance(metric, ClassMetric)]
    columns = [
        Column("model", "Model", numeric=False),
        Column("class", "Class", numeric=False),
        *(_column(metric, comparison) for metric in scored),
        Column("images", "Images"),
    ]
    rows = []
    for scores, name in zip(comparison.scores, comparison.names, strict=True):
        for class_, values in scores.per_class.items():
            estimates = [estimate(values[metric.key]) for metric in scored]
            cells = [_estimate_cell(result, metric) for result, metric in zip(estimates, scored, strict=True)]
            rows.append([TableCell(name), TableCell(class_), *cells, TableCell(estimate(values[DICE.key]).images)])
    return ReportTable(
        f"{comparison.slug}_classes",
        "Scores of each class",
        f"Mean over those of the {comparison.description} that have the class in truth or prediction; below it the "
        "bootstrap 95 % interval.",
        columns,
        rows,
    )


def paper_table(comparison: Comparison) -> ReportTable:
    """The paper's rows for this dataset."""
    paper = paper_dataset(comparison.dataset)
    assert paper is not None
    rows, footnotes = [], {}
    printed = printed_overlaps(paper)
    best = {metric: max(map(value, printed.values())) for metric, (_, value) in _PRINTED.items()}
    for configuration, overlap in printed.items():
        why = impossible(overlap)
        if why:
            footnotes["a"] = why
        values = {metric: value(overlap) for metric, (_, value) in _PRINTED.items()}
        cells = [
            TableCell(value, 4, best=value == best[metric], footnote="a" if why else "")
            for metric, value in values.items()
        ]
        rows.append([TableCell(NETWORK_NAMES[configuration]), *cells])
    notes = [
        "Its test images also chose its best epoch.",
        "Its text does not determine its PyConvU-Net; ours is one reading, see nnunet_pyconv complexity.",
    ]
    if not comparable(comparison.dataset):
        notes.append("Its foreground is the cells; here it is another class, so these figures are not comparable.")
    return ReportTable(
        f"{comparison.slug}_paper",
        f"The paper's Table 2 for {paper.name}",
        f"As printed in {CITATION}. Its MIoU is the foreground IoU by its code, and the mean IoU by its Equation 1.",
        [
            Column("network", "Network", numeric=False),
            *(Column(metric.key, name, larger_is_better=True) for metric, (name, _) in _PRINTED.items()),
        ],
        rows,
        notes,
        tuple(footnotes.items()),
    )


def cases_table(comparison: Comparison) -> ReportTable:
    """Every value of every image, for CSV."""
    of_class = [metric for metric in comparison.metrics if isinstance(metric, ClassMetric)]
    of_image = [metric for metric in comparison.metrics if _several(comparison) or not isinstance(metric, ClassMetric)]
    columns = [Column("model", "Model", numeric=False), Column("case", "Case", numeric=False)]
    columns += [Column(f"{metric.key}_{name}", "") for name in comparison.dataset.classes for metric in of_class]
    columns += [Column(metric.key, "") for metric in of_image]
    rows = []
    for scores in comparison.scores:
        values = [scores.per_class[name][metric.key] for name in comparison.dataset.classes for metric in of_class]
        values += [scores.per_image[metric.key] for metric in of_image]
        for index, case in enumerate(comparison.cases):
            numbers = [TableCell(float(each[index])) for each in values]
            rows.append([TableCell(scores.model.name), TableCell(case), *numbers])
    return ReportTable(f"{comparison.slug}_cases", "Cases", "", columns, rows)


def _column(metric: Metric, comparison: Comparison) -> Column:
    title = metric.titled(comparison.wording)
    return Column(metric.key, title, larger_is_better=metric.larger_is_better, extras=("low", "high"))


def _estimate_cell(result: Estimate, metric: Metric, *, best: bool = False) -> TableCell:
    low, high = (shown(end, metric.decimals) for end in (result.low, result.high))
    small = f"{low}\u2013{high}" if result.images > 1 else ""
    return TableCell(result.mean, metric.decimals, best=best, small=small, extras=(result.low, result.high))


def _paper_rows(comparison: Comparison) -> list[Overlap | None]:
    """What the paper prints for each model; None where it has no such network or another foreground."""
    known = paper_dataset(comparison.dataset) if comparable(comparison.dataset) else None
    printed = printed_overlaps(known) if known else {}
    return [printed.get(_configuration(scores.model)) for scores in comparison.scores]


def _configuration(model: Model) -> str:
    """That of a trained model; predictions of something else may be named like one."""
    return model.name if model.setup is None else model.setup.configuration


def _best(means: Sequence[float], metric: Metric) -> set[int]:
    """Indices of the best, as shown; none if there is nothing to choose from."""
    shown = np.round(means, metric.decimals)
    if len(means) < 2 or np.isnan(shown).all():
        return set()
    best = np.nanmax(shown) if metric.larger_is_better else np.nanmin(shown)
    return set(np.flatnonzero(shown == best).tolist())


def _several(comparison: Comparison) -> bool:
    return len(comparison.dataset.classes) > 1
