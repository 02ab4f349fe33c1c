"""Dice and IoU per case, as nnU-Net's evaluation wrote them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from nnunetv2.evaluation.evaluate_predictions import load_summary_json


@dataclass(frozen=True)
class CaseOverlap:
    """Overlap of one case's prediction and truth for one label.

    Attributes:
        case: nnU-Net's case identifier.
        dice: `2 TP / (2 TP + FP + FN)`, paper Eq. 4; NaN where the label is in neither mask.
        iou: `TP / (TP + FP + FN)`; NaN where the label is in neither mask.
    """

    case: str
    dice: float
    iou: float


def read_overlaps(summary_json: Path, file_ending: str) -> list[CaseOverlap]:
    """Read the scores of label 1 from a `summary.json` of nnU-Net (evaluation/evaluate_predictions.py), case by case.

    Args:
        summary_json: The file.
        file_ending: That of the predictions, for example `.png`.

    Returns:
        One entry a case.
    """
    overlaps = []
    for entry in load_summary_json(str(summary_json))["metric_per_case"]:
        metrics = entry["metrics"][1]
        case = Path(entry["prediction_file"]).name.removesuffix(file_ending)
        overlaps.append(CaseOverlap(case, metrics["Dice"], metrics["IoU"]))
    return sorted(overlaps, key=lambda overlap: overlap.case)


def mean_overlap(overlaps: Sequence[CaseOverlap]) -> CaseOverlap:
    """Mean over the cases that have the label in prediction or truth; NaN if none has."""
    rated = [overlap for overlap in overlaps if not math.isnan(overlap.dice)]
    if not rated:
        return CaseOverlap("mean", math.nan, math.nan)
    return CaseOverlap(
        "mean",
        sum(overlap.dice for overlap in rated) / len(rated),
        sum(overlap.iou for overlap in rated) / len(rated),
    )


def format_table(rows: Sequence[CaseOverlap]) -> str:
    """A short table for the terminal, one row a case."""
    width = max(len(row.case) for row in rows)
    lines = [f"{'case':<{width}}   Dice    IoU"]
    lines += [f"{row.case:<{width}}  {row.dice:.4f}  {row.iou:.4f}" for row in rows]
    return "\n".join(lines)
