"""The scores that a report has: names, direction, and what each number is."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Metric:
    """A score.

    Attributes:
        key: Name in files.
        title: Name in tables.
        decimals: How many to show.
        meaning: What the number is, one sentence.
        larger_is_better: Direction.
        per_class: Whether each class has its own value.
    """

    key: str
    title: str
    decimals: int
    meaning: str
    larger_is_better: bool = True
    per_class: bool = True


def metrics(*, unit: str, tolerance: float, neurites: str | None) -> list[Metric]:
    """The scores of a dataset.

    Args:
        unit: Unit of distances, `mm` or `px`.
        tolerance: Of the normalised surface Dice, in that unit.
        neurites: How V_rand and V_info came about, one sentence; None leaves them out.
    """
    scores = [
        Metric("iou", "IoU", 4, "Foreground IoU: TP / (TP + FP + FN). The paper's code calls it MIoU."),
        Metric(
            "mean_iou",
            "mean IoU",
            4,
            "Mean over all classes, background included, of the IoU: the MIoU that the paper's Equation 1 defines.",
            per_class=False,
        ),
        Metric("dice", "Dice", 4, "2 TP / (2 TP + FP + FN), the paper's Equation 4."),
        Metric(
            "hd95",
            f"HD95 / {unit}",
            2,
            "95th percentile of the distances between both boundaries, the larger of the two directions, in "
            + ("millimetres." if unit == "mm" else "pixels, since the files carry no spacing."),
            larger_is_better=False,
        ),
        Metric(
            "nsd",
            f"NSD @ {tolerance:g} {unit}",
            4,
            f"Normalised surface Dice: the share of both boundaries within {tolerance:g} {unit} of the other.",
        ),
    ]
    if neurites is not None:
        rule = f"after border thinning, as in the ISBI 2012 challenge. {neurites}"
        scores += [
            Metric("v_rand", "V_rand", 4, f"Foreground-restricted Rand score {rule}", per_class=False),
            Metric("v_info", "V_info", 4, f"Foreground-restricted information score {rule}", per_class=False),
        ]
    return scores
