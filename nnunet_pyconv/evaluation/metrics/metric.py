"""What a metric is: its names, its direction, its function, and what counts where a mask is empty."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from nnunet_pyconv.evaluation.metrics.images import LabelImage, MaskPair, SegmentPair

EMPTY_CASES = (
    "Neither truth nor prediction has the class: no score, as in nnU-Net's summary.json. The image says nothing about "
    "this class and is left out of its mean; how many images count stands in the table.",
    "Only one of them has it: the worst value of the score, 0 for an overlap and the image's diagonal for a distance, "
    "so that a network gains nothing by leaving a class out.",
)
"""The rule for empty masks, which every metric of a class follows with its own `worst`."""


@dataclass(frozen=True)
class Metric:
    """What all kinds of metrics have.

    Attributes:
        key: Name in files.
        title: Name in tables; `{unit}` and `{tolerance:g}` stand for those of the comparison.
        meaning: What the number is, one sentence or two; `{unit_name}` and `{neurites}` likewise.
        larger_is_better: Direction.
        decimals: How many to show.
    """

    key: str
    title: str
    meaning: str
    larger_is_better: bool = True
    decimals: int = 4

    def titled(self, wording: Mapping[str, object]) -> str:
        """Return the title for a comparison."""
        return self.title.format_map(wording)

    def explained(self, wording: Mapping[str, object]) -> str:
        """Return the meaning for a comparison."""
        return self.meaning.format_map(wording)


@dataclass(frozen=True, kw_only=True)
class ClassMetric(Metric):
    """A metric of one class in one image.

    Attributes:
        score: From masks of which neither is empty.
        worst: What counts where one of the masks is empty, see `EMPTY_CASES`.
        on_partial_truth: Whether it has a meaning where some pixels of the truth have the ignore label.
    """

    score: Callable[[MaskPair], float]
    worst: Callable[[MaskPair], float]
    on_partial_truth: bool = True

    def __call__(self, pair: MaskPair) -> float:
        """Score a class by the rule of `EMPTY_CASES`; NaN for no score."""
        if not pair.has_truth and not pair.has_prediction:
            return math.nan
        if not (pair.has_truth and pair.has_prediction):
            return self.worst(pair)
        return self.score(pair)


@dataclass(frozen=True, kw_only=True)
class ImageMetric(Metric):
    """A metric of a whole image.

    Attributes:
        score: From the labels; NaN for no score.
    """

    score: Callable[[LabelImage], float]


@dataclass(frozen=True, kw_only=True)
class SegmentMetric(Metric):
    """A metric of segments, as in the ISBI 2012 challenge.

    Where predictions are probabilities, it is computed at each of the challenge's thresholds.

    Attributes:
        score: From segments of truth and prediction; NaN where the truth has none.
    """

    score: Callable[[SegmentPair], float]


def zero(_: MaskPair) -> float:
    """The worst overlap."""
    return 0.0


def diagonal(pair: MaskPair) -> float:
    """The largest distance that an image can hold, in the unit of its spacing."""
    return math.hypot(*(size * step for size, step in zip(pair.truth.shape, pair.spacing, strict=True)))
