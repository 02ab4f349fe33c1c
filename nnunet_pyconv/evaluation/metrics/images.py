"""What metrics are computed from: the masks of a class, the labels of an image, and segments."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from nnunetv2.evaluation.evaluate_predictions import compute_tp_fp_fn_tn, region_or_label_to_mask
from numpy.typing import NDArray
from skimage.metrics import contingency_table

Mask = NDArray[np.bool_]
Labels = NDArray[np.integer[Any]]
Segments = NDArray[np.integer[Any]]
"""A number for each segment; 0 belongs to none."""

Label = int | tuple[int, ...]
"""A label, or the labels of a region."""

BACKGROUND = "background"


@dataclass(frozen=True, eq=False)
class MaskPair:
    """The masks of one class in one image.

    Attributes:
        truth: `(Y, X)` or `(Z, Y, X)`.
        prediction: Of the same shape.
        spacing: Size of a pixel along each axis.
        tolerance: The largest distance that is no error to a surface, in the unit of `spacing`.
    """

    truth: Mask
    prediction: Mask
    spacing: tuple[float, ...]
    tolerance: float

    @cached_property
    def has_truth(self) -> bool:
        """Whether the class is in the truth."""
        return bool(self.truth.any())

    @cached_property
    def has_prediction(self) -> bool:
        """Whether the class is in the prediction."""
        return bool(self.prediction.any())

    @cached_property
    def counts(self) -> tuple[int, int, int]:
        """True positive, false positive and false negative pixels, counted by nnU-Net."""
        tp, fp, fn, _ = compute_tp_fp_fn_tn(self.truth, self.prediction)
        return int(tp), int(fp), int(fn)


@dataclass(frozen=True, eq=False)
class LabelImage:
    """Truth and prediction of one image.

    Attributes:
        truth: Labels `(Y, X)` or `(Z, Y, X)`.
        prediction: Of the same shape.
        spacing: Size of a pixel along each axis.
        classes: The foreground classes, or regions: name to label or labels.
        ignore_label: Label of pixels that don't count, if there is one.
        tolerance: See `MaskPair`.
    """

    truth: Labels
    prediction: Labels
    spacing: tuple[float, ...]
    classes: Mapping[str, Label]
    ignore_label: int | None
    tolerance: float

    @cached_property
    def is_partial(self) -> bool:
        """Whether some pixels of the truth have the ignore label."""
        return self.ignore_label is not None and bool((self.truth == self.ignore_label).any())

    @cached_property
    def pairs(self) -> dict[str, MaskPair]:
        """The masks of the background and of each class, without ignored pixels."""
        counts = self.truth != self.ignore_label if self.is_partial else True
        return {
            name: MaskPair(
                region_or_label_to_mask(self.truth, label) & counts,
                region_or_label_to_mask(self.prediction, label) & counts,
                self.spacing,
                self.tolerance,
            )
            for name, label in {BACKGROUND: 0, **self.classes}.items()
        }


@dataclass(frozen=True, eq=False)
class SegmentPair:
    """Segments of one image.

    Attributes:
        truth: `(Y, X)`, pixels of 0 don't count.
        prediction: `(Y, X)`, each pixel of 0 is a segment of its own.
    """

    truth: Segments
    prediction: Segments

    @cached_property
    def shares(self) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
        """Shares of the counted pixels that are in each pair of segments, each of the truth, each of the prediction.

        All are empty where no pixel counts.
        """
        table = contingency_table(self.truth, self.prediction, ignore_labels=[0], normalize=False).tocoo()
        n = table.sum()
        if n == 0:
            return (np.empty(0),) * 3
        on_lines = table.col == 0
        singles = np.full(int(table.data[on_lines].sum()), 1 / n)
        joint = np.concatenate([table.data[~on_lines] / n, singles])
        truth = np.bincount(table.row, table.data) / n
        segments = np.bincount(table.col[~on_lines], table.data[~on_lines]) / n
        return joint, truth, np.concatenate([segments, singles])
