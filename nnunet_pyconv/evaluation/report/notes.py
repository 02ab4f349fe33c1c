"""What a reader of a comparison has to bear in mind."""

from __future__ import annotations

from nnunet_pyconv import paper
from nnunet_pyconv.evaluation.comparison import Comparison
from nnunet_pyconv.evaluation.models import Model
from nnunet_pyconv.evaluation.report.paper_figures import paper_dataset


def section_notes(comparison: Comparison) -> list[str]:
    """What a reader has to know before the numbers."""
    notes = []
    if len(comparison.scores) > 1:
        baseline = comparison.baseline
        notes.append(f"Baseline: {comparison.names[baseline.index]} ({baseline.reason}).")
    if any("all" in scores.model.folds for scores in comparison.scores):
        notes.append("Fold “all” is validated on its own training cases: these scores say nothing about new images.")
    if comparison.dataset.ignore_label is not None:
        notes.append(
            "Pixels with the ignore label don't count; images that have some have no HD95 and NSD, since the truth's "
            "surface ends there without meaning."
        )
    if isinstance(next(iter(comparison.dataset.classes.values())), tuple):
        notes.append("The classes are regions, which may overlap; mean IoU is over the regions and label 0.")
    notes += _protocol(comparison)
    known = paper_dataset(comparison.dataset)
    if known is not None and known.note:
        notes.append(known.note)
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


def shortened_notes(comparison: Comparison) -> list[str]:
    """Say which trainings were shortened against the paper's, and how; it stands below the scores."""
    names: dict[str, list[str]] = {}
    for scores, name in zip(comparison.scores, comparison.names, strict=True):
        if what := _shortened(scores.model, str(comparison.wording.get("unit", ""))):
            names.setdefault(what, []).append(name)
    return [
        f"Shortened ({'all models' if len(of) == len(comparison.names) else ', '.join(of)}): {what}."
        for what, of in names.items()
    ]


def _shortened(model: Model, unit: str) -> str:
    what = []
    epochs = None if model.setup is None else paper.epochs_of(model.setup.trainer)
    if epochs is not None and epochs < paper.EPOCHS:
        what.append(f"{epochs} of the paper's {paper.EPOCHS} epochs")
    if model.planned.is_resampled:
        spacing = " x ".join(f"{step:g}" for step in model.planned.spacing)
        what.append(f"trained on images resampled to pixels of {spacing} {unit}, with predictions at full resolution")
    if model.setup is not None and model.setup.trainer.startswith(paper.TRAINER_BF16):
        what.append("trained in mixed precision, bfloat16 on a CPU")
    return "; ".join(what)
