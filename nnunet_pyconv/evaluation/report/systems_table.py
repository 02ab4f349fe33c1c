"""What the systems of a comparison are, and what to bear in mind."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from nnunet_pyconv.evaluation.comparison import Comparison
from nnunet_pyconv.evaluation.report.paper_figures import paper_dataset
from nnunet_pyconv.evaluation.report.tables import Cell, Column, Table
from nnunet_pyconv.evaluation.training_log import TrainingLog


def systems_table(comparison: Comparison, logs: Mapping[str, Sequence[TrainingLog]]) -> Table:
    """Trainer, plans, configuration and network of each system, and how long it was trained."""
    columns = [
        Column(key, title, numeric=False)
        for key, title in zip(
            ("system", "trainer", "plans", "configuration"), ("System", "Trainer", "Plans", "Config."), strict=True
        )
    ]
    columns += [
        Column("network", "Network", numeric=False),
        Column("folds", "Folds", numeric=False),
        Column("epochs", "Epochs"),
        Column("train_loss", "Last loss"),
    ]
    rows = []
    for scores, name in zip(comparison.scores, comparison.names, strict=True):
        system = scores.system
        parts = system.parts if len(system.parts) == 3 else ("\u2013", "\u2013", "\u2013")
        folds = logs.get(name, [])
        rows.append(
            [
                Cell(name),
                *(Cell(part) for part in parts),
                Cell(system.network_class.rpartition(".")[2] or "\u2013"),
                Cell(", ".join(system.folds) or "\u2013"),
                Cell(min(len(log.train_loss) for log in folds) if folds else math.nan),
                Cell(sum(log.train_loss[-1] for log in folds) / len(folds) if folds else math.nan, 4),
            ]
        )
    return Table(
        f"{comparison.slug}_systems",
        "The systems",
        "Network: the class in the plans; a trainer may swap its convolutions. Epochs (the fewest of the folds) and "
        "last training loss (mean over the folds) are from the final checkpoints, if nnU-Net wrote them.",
        columns,
        rows,
    )


def section_notes(comparison: Comparison) -> list[str]:
    """What a reader has to know before the numbers."""
    notes = []
    if len(comparison.scores) > 1:
        notes.append(f"Baseline: {comparison.names[comparison.baseline]} ({comparison.baseline_because}).")
    if any("all" in scores.system.folds for scores in comparison.scores):
        notes.append("Fold “all” is validated on its own training cases: these scores say nothing about new images.")
    if comparison.dataset.ignore_label is not None:
        notes.append(
            "Pixels with the ignore label don't count; images that have some have no HD95 and NSD, since the truth's "
            "surface ends there without meaning."
        )
    if isinstance(next(iter(comparison.dataset.classes.values())), tuple):
        notes.append("The classes are regions, which may overlap; mean IoU is over the regions and label 0.")
    notes += _protocol(comparison)
    paper = paper_dataset(comparison.dataset)
    if paper is not None and paper.note:
        notes.append(paper.note)
    return notes


def _protocol(comparison: Comparison) -> list[str]:
    """Which images the paper's figures, which stand beside these, may be compared with."""
    if paper_dataset(comparison.dataset) is None or comparison.dataset.test_cases_train is None:
        return []
    if comparison.dataset.test_cases_train:
        return [
            "Split: the paper's (--protocol paper), where the test images validate fold 0 and so choose the best "
            "epoch: scores on them are somewhat too good."
        ]
    return [
        "Split: clean (--protocol clean). The test images, which are the paper's, had no part in the training. "
        "Validation cases are others, and the paper's figures are not of them."
    ]
