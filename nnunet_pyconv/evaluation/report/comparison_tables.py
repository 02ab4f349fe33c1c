"""The tables of a comparison: Table 2, its tests, its classes, the paper's figures, every case."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np

from nnunet_pyconv.evaluation.comparison import Comparison
from nnunet_pyconv.evaluation.metrics import Estimate, Metric, difference, estimate, holm, smallest_p
from nnunet_pyconv.evaluation.metrics.statistics import RESAMPLES
from nnunet_pyconv.evaluation.report.paper_figures import (
    NETWORK_NAMES,
    comparable,
    impossible,
    paper_dataset,
    printed_overlaps,
)
from nnunet_pyconv.evaluation.report.tables import Cell, Column, Table, shown
from nnunet_pyconv.paper import CITATION, Overlap

_IN_PAPER = ("iou", "dice")


def comparison_tables(comparison: Comparison) -> list[Table]:
    """All tables of a comparison that have something to say."""
    tables = [scores_table(comparison)]
    if len(comparison.scores) > 1:
        tables.append(differences_table(comparison))
    if len(comparison.dataset.classes) > 1:
        tables.append(classes_table(comparison))
    if paper_dataset(comparison.dataset) is not None:
        tables.append(paper_table(comparison))
    return tables


def scores_table(comparison: Comparison) -> Table:
    """Table 2: mean of each score over the images, with the paper's figures beside IoU and Dice."""
    paper = _paper_rows(comparison)
    columns = [Column("system", "System", numeric=False)]
    for metric in comparison.metrics:
        columns.append(_column(metric))
        if any(paper) and metric.key in _IN_PAPER:
            columns.append(Column(f"paper_{metric.key}", f"paper's {'MIoU' if metric.key == 'iou' else 'Dice'}"))
    columns.append(Column("images", "Images"))

    estimates = [
        [estimate(scores.of_image[metric.key]) for metric in comparison.metrics] for scores in comparison.scores
    ]
    best = [_best([row[column].mean for row in estimates], metric) for column, metric in enumerate(comparison.metrics)]
    rows, footnotes = [], {}
    for index, name in enumerate(comparison.names):
        cells = [Cell(name, small="baseline" if index == comparison.baseline and len(paper) > 1 else "")]
        printed = paper[index]
        why = impossible(printed) if printed else ""
        if why:
            footnotes["a"] = why
        for column, metric in enumerate(comparison.metrics):
            cells.append(_estimate_cell(estimates[index][column], metric, best=index in best[column]))
            if any(paper) and metric.key in _IN_PAPER:
                value = math.nan if printed is None else getattr(printed, metric.key)
                cells.append(Cell(value, 4, footnote="a" if why else ""))
        cells.append(Cell(estimate(comparison.scores[index].of_image["dice"]).images))
        rows.append(cells)
    notes = [f"{metric.title}: {metric.meaning}" for metric in comparison.metrics]
    return Table(
        f"{comparison.slug}_table_2",
        "Table 2: scores",
        f"Mean over the {comparison.cases_are}; below it the percentile bootstrap 95 % interval ({RESAMPLES:,} "
        "resamples of images). Bold: the best of a column. Images: how many have a Dice, see the rule for empty masks."
        + (" With several classes, an image's score is the mean over the classes it has." * _several(comparison)),
        columns,
        rows,
        notes,
        tuple(footnotes.items()),
    )


def differences_table(comparison: Comparison) -> Table:
    """Every other system against the baseline, on the same images."""
    baseline = comparison.scores[comparison.baseline]
    others = [index for index in range(len(comparison.scores)) if index != comparison.baseline]
    columns = [Column("system", "System", numeric=False)]
    by_metric = []
    for metric in comparison.metrics:
        better = metric.larger_is_better
        columns.append(Column(metric.key, f"Δ {metric.title}", larger_is_better=better, extras=("p", "p_holm")))
        found = [
            difference(comparison.scores[index].of_image[metric.key], baseline.of_image[metric.key]) for index in others
        ]
        by_metric.append(list(zip(found, holm([result.p for result in found]), strict=True)))
    rows = []
    for row, index in enumerate(others):
        cells = [Cell(comparison.names[index])]
        for metric, results in zip(comparison.metrics, by_metric, strict=True):
            result, adjusted = results[row]
            p = f"p {shown(adjusted, 4)}"
            cells.append(Cell(result.mean, metric.decimals, signed=True, small=p, extras=(result.p, adjusted)))
        rows.append(cells)
    images = len(comparison.cases)
    return Table(
        f"{comparison.slug}_differences",
        f"Differences to {comparison.names[comparison.baseline]}",
        f"Δ: mean over images of system minus {comparison.names[comparison.baseline]}. p: two-sided Wilcoxon "
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
            "and images of one specimen or patient are not independent: read p as a guide.",
        ],
    )


def classes_table(comparison: Comparison) -> Table:
    """The scores of each class."""
    scored = [metric for metric in comparison.metrics if metric.per_class]
    columns = [
        Column("system", "System", numeric=False),
        Column("class", "Class", numeric=False),
        *(_column(metric) for metric in scored),
        Column("images", "Images"),
    ]
    rows = []
    for scores, name in zip(comparison.scores, comparison.names, strict=True):
        for class_, values in scores.of_class.items():
            estimates = [estimate(values[metric.key]) for metric in scored]
            cells = [_estimate_cell(result, metric) for result, metric in zip(estimates, scored, strict=True)]
            rows.append([Cell(name), Cell(class_), *cells, Cell(estimate(values["dice"]).images)])
    return Table(
        f"{comparison.slug}_classes",
        "Scores of each class",
        f"Mean over those of the {comparison.cases_are} that have the class in truth or prediction; below it the "
        "bootstrap 95 % interval.",
        columns,
        rows,
    )


def paper_table(comparison: Comparison) -> Table:
    """The paper's rows for this dataset."""
    paper = paper_dataset(comparison.dataset)
    assert paper is not None
    rows, footnotes = [], {}
    printed = printed_overlaps(paper)
    best = {key: max(getattr(overlap, key) for overlap in printed.values()) for key in _IN_PAPER}
    for configuration, overlap in printed.items():
        why = impossible(overlap)
        if why:
            footnotes["a"] = why
        values = {key: getattr(overlap, key) for key in _IN_PAPER}
        cells = [Cell(value, 4, best=value == best[key], footnote="a" if why else "") for key, value in values.items()]
        rows.append([Cell(NETWORK_NAMES[configuration]), *cells])
    notes = [
        "Its test images also chose its best epoch.",
        "Its text does not determine its PyConvU-Net; ours is one reading, see nnunet_pyconv complexity.",
    ]
    if not comparable(comparison.dataset):
        notes.append("Its foreground is the cells; here it is another class, so these figures are not comparable.")
    return Table(
        f"{comparison.slug}_paper",
        f"The paper's Table 2 for {paper.name}",
        f"As printed in {CITATION}. Its MIoU is the foreground IoU by its code, and the mean IoU by its Equation 1.",
        [
            Column("network", "Network", numeric=False),
            Column("iou", "MIoU", larger_is_better=True),
            Column("dice", "Dice", larger_is_better=True),
        ],
        rows,
        notes,
        tuple(footnotes.items()),
    )


def cases_table(comparison: Comparison) -> Table:
    """Every value of every image, for CSV."""
    per_class: Mapping[str, Sequence[Metric]] = {
        name: [metric for metric in comparison.metrics if metric.per_class] for name in comparison.dataset.classes
    }
    of_image = [metric for metric in comparison.metrics if _several(comparison) or not metric.per_class]
    columns = [Column("system", "System", numeric=False), Column("case", "Case", numeric=False)]
    columns += [Column(f"{metric.key}_{name}", "") for name, chosen in per_class.items() for metric in chosen]
    columns += [Column(metric.key, "") for metric in of_image]
    rows = []
    for scores in comparison.scores:
        for index, case in enumerate(comparison.cases):
            values = [scores.of_class[name][metric.key] for name, chosen in per_class.items() for metric in chosen]
            values += [scores.of_image[metric.key] for metric in of_image]
            rows.append([Cell(scores.system.key), Cell(case), *(Cell(float(value[index])) for value in values)])
    return Table(f"{comparison.slug}_cases", "Cases", "", columns, rows)


def _column(metric: Metric) -> Column:
    return Column(metric.key, metric.title, larger_is_better=metric.larger_is_better, extras=("low", "high"))


def _estimate_cell(result: Estimate, metric: Metric, *, best: bool = False) -> Cell:
    low, high = (shown(end, metric.decimals) for end in (result.low, result.high))
    small = f"{low}\u2013{high}" if result.images > 1 else ""
    return Cell(result.mean, metric.decimals, best=best, small=small, extras=(result.low, result.high))


def _paper_rows(comparison: Comparison) -> list[Overlap | None]:
    """What the paper prints for each system; None where it has no such network or another foreground."""
    known = paper_dataset(comparison.dataset) if comparable(comparison.dataset) else None
    printed = printed_overlaps(known) if known else {}
    return [printed.get(scores.system.parts[-1]) for scores in comparison.scores]


def _best(means: Sequence[float], metric: Metric) -> set[int]:
    """Indices of the best, as shown; none if there is nothing to choose from."""
    shown = np.round(means, metric.decimals)
    if len(means) < 2 or np.isnan(shown).all():
        return set()
    best = np.nanmax(shown) if metric.larger_is_better else np.nanmin(shown)
    return set(np.flatnonzero(shown == best).tolist())


def _several(comparison: Comparison) -> bool:
    return len(comparison.dataset.classes) > 1
