"""What the models of a comparison are."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from nnunet_pyconv.evaluation.comparison import Comparison
from nnunet_pyconv.evaluation.report.tables import Column, ReportTable, TableCell
from nnunet_pyconv.evaluation.training_log import TrainingLog

_NONE = "\u2013"


def models_table(comparison: Comparison, logs: Mapping[str, Sequence[TrainingLog]]) -> ReportTable:
    """Trainer, plans, configuration and network of each model, and how long it was trained."""
    columns = [
        *(Column(key, key.capitalize(), numeric=False) for key in ("model", "trainer", "plans")),
        Column("configuration", "Config.", numeric=False),
        Column("network", "Network", numeric=False),
        Column("spacing", "Spacing", numeric=False),
        Column("folds", "Folds", numeric=False),
        Column("epochs", "Epochs"),
        Column("train_loss", "Last loss"),
    ]
    rows = []
    for scores, name in zip(comparison.scores, comparison.names, strict=True):
        model, setup = scores.model, scores.model.setup
        folds = logs.get(name, [])
        texts = [
            name,
            *((_NONE,) * 3 if setup is None else (setup.trainer, setup.plans, setup.configuration)),
            model.planned.network_class.rpartition(".")[2] or _NONE,
            " x ".join(f"{step:g}" for step in model.planned.spacing) or _NONE,
            ", ".join(model.folds) or _NONE,
        ]
        epochs = min(len(log.train_loss) for log in folds) if folds else math.nan
        loss = sum(log.train_loss[-1] for log in folds) / len(folds) if folds else math.nan
        rows.append([*map(TableCell, texts), TableCell(epochs), TableCell(loss, 4)])
    return ReportTable(
        f"{comparison.slug}_models",
        "The models",
        "Network: the class in the plans; a trainer may swap its convolutions. Spacing: the size of a pixel to which "
        "images are resampled. Epochs (the fewest of the folds) and last training loss (mean over the folds) are from "
        "the final checkpoints, if nnU-Net wrote them.",
        columns,
        rows,
    )
