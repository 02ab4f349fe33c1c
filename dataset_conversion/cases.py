"""The cases of a dataset, read one by one when they are needed."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from nnunet_pyconv.dataset_conversion.reading import Array, Geometry, Label, Mask


@dataclass(frozen=True)
class CaseData:
    """What a case holds.

    Attributes:
        images: An array for each file of the case: pictures `(Y, X)` or `(Y, X, 3)`, or volumes `(Z, Y, X)`.
        label: `(Y, X)` or `(Z, Y, X)` of 0, 1, ...; None for a case without label.
        geometry: Of volumes; None for pictures.
        remarks: What is odd about them, though they can be used.
        approximated: How many of the label's pixels had a value that no class has.
    """

    images: tuple[Array, ...]
    label: Label | None = None
    geometry: Geometry | None = None
    remarks: tuple[str, ...] = ()
    approximated: int = 0

    @classmethod
    def of_mask(cls, image: Array, mask: Mask, *remarks: str) -> CaseData:
        """Combine a grey image `(Y, X)` and its mask."""
        own = () if mask.remark is None else (mask.remark,)
        return cls((image,), mask.foreground.astype(np.uint8), remarks=(*own, *remarks))


@dataclass(frozen=True)
class Case:
    """One case, read only when it is written, so that memory stays constant.

    Attributes:
        name: nnU-Net's case identifier.
        source: Where it comes from, for messages.
        read: Reads it.
        known_faulty: Whether it is known to be faulty: it is left out where it can't be used, instead of an error.
    """

    name: str
    source: str
    read: Callable[[], CaseData]
    known_faulty: bool = False

    def complemented(self) -> Case:
        """Return the same case with labels 0 and 1 exchanged."""

        def read() -> CaseData:
            data = self.read()
            return data if data.label is None else replace(data, label=1 - data.label)

        return replace(self, read=read)


@dataclass(frozen=True)
class FoundCases:
    """What a converter finds in a source.

    Attributes:
        labelled: Cases with labels, in their order.
        test: Those that the dataset itself sets aside as its test set; None where it sets none aside.
        unlabelled: Cases without labels; they go to `imagesChallenge`, which nnU-Net leaves alone.
    """

    labelled: Sequence[Case]
    test: Sequence[Case] | None = None
    unlabelled: Sequence[Case] = field(default=())
