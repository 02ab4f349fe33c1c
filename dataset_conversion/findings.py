"""What a conversion finds out about the cases it writes: the summary, and what is odd."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from nnunet_pyconv.dataset_conversion.cases import Case, CaseData
from nnunet_pyconv.dataset_conversion.source_files import listing
from nnunet_pyconv.errors import InputError


@dataclass(frozen=True)
class CaseFindings:
    """What one case is like.

    Attributes:
        size: Of its images, `(Y, X)` or `(Z, Y, X)`.
        dtype: Of its images.
        source: Where its image comes from.
        digest: Of its images' pixels; None for images of one value, which are no copies of each other.
        pixels_of_class: Pixels of each label; None for a case without label.
        remarks: What is odd.
        approximated: Pixels of the label whose value no class has.
    """

    size: tuple[int, ...]
    dtype: str
    source: str
    digest: bytes | None
    pixels_of_class: NDArray[np.int64] | None
    remarks: tuple[str, ...]
    approximated: int

    @classmethod
    def of(cls, case: Case, data: CaseData, num_classes: int, is_picture: bool) -> CaseFindings:
        """Look at a case."""
        first = data.images[0]
        shown = any(image.min() < image.max() for image in data.images)
        digest = hashlib.blake2b()
        for image in data.images:
            digest.update(np.ascontiguousarray(image).data)
        counts = None if data.label is None else np.bincount(data.label.ravel(), minlength=num_classes)
        remarks = data.remarks
        if counts is not None and not counts[1:].any():
            remarks = (*remarks, "an empty mask: no class but background")
        elif counts is not None and num_classes == 2 and not counts[0]:
            remarks = (*remarks, "a mask that covers the whole image")
        return cls(
            first.shape[:2] if is_picture else first.shape,
            str(first.dtype),
            case.source,
            digest.digest() if shown else None,
            counts,
            remarks,
            data.approximated,
        )


@dataclass
class Findings:
    """What the cases of a conversion are like.

    Attributes:
        classes: Names of the labels.
        cases: Of each part of the dataset, `imagesTr` and so on, the findings by the case's name.
        left_out: The names of the cases that were not written, with the reason.
    """

    classes: tuple[str, ...]
    cases: dict[str, dict[str, CaseFindings]] = field(default_factory=dict)
    left_out: dict[str, str] = field(default_factory=dict)

    def names(self, part: str) -> list[str]:
        """Names of the cases that were written to a part of the dataset."""
        return list(self.cases.get(part, {}))

    def summary(self) -> Iterator[str]:
        """Say how many cases each part has, of which size, and how much of them each class covers."""
        for part, cases in self.cases.items():
            sizes = Counter(" x ".join(map(str, found.size)) for found in cases.values())
            dtypes = sorted({found.dtype for found in cases.values()})
            common, count = sizes.most_common(1)[0]
            size = common if len(sizes) == 1 else f"{len(sizes)} sizes, most often {common} ({count} cases)"
            yield f"{part}: {len(cases)} case{'s' * (len(cases) != 1)}; {size}; {', '.join(dtypes)}"
            counts = [found.pixels_of_class for found in cases.values() if found.pixels_of_class is not None]
            if not counts:
                continue
            table = np.stack(counts)
            for label, name in enumerate(self.classes):
                of_cases = table[:, label] / table.sum(axis=1)
                yield (
                    f"  {label} {name}: {table[:, label].sum() / table.sum():.2%} of all pixels, "
                    f"{of_cases.min():.2%} to {of_cases.max():.2%} of a case, in {np.count_nonzero(of_cases)} of "
                    f"{len(counts)} cases"
                )

    def warnings(self) -> Iterator[str]:
        """Say what is odd, each thing once with the names of its cases."""
        by_remark: dict[str, set[str]] = {}
        for name, reason in self.left_out.items():
            by_remark.setdefault(f"left out: {reason}", set()).add(name)
        for name, found in self._all():
            for remark in found.remarks:
                by_remark.setdefault(remark, set()).add(name)
        for remark, names in by_remark.items():
            yield f"{listing(sorted(names))}: {remark}"
        if pixels := sum(found.approximated for _, found in self._all()):
            names = {name for name, found in self._all() if found.approximated}
            all_pixels = sum(
                found.pixels_of_class.sum() for _, found in self._all() if found.pixels_of_class is not None
            )
            yield (
                f"{listing(sorted(names))}: {pixels} pixels of the label images ({pixels / all_pixels:.3%} of all) had "
                "a value that no class has; each was given the nearest class"
            )
        by_digest: dict[bytes, dict[str, str]] = {}
        for name, found in self._all():
            if found.digest is not None:
                by_digest.setdefault(found.digest, {})[found.source] = name
        copies = [names for names in by_digest.values() if len(names) > 1]  # names by source
        # a training and a test image may have one name
        same = [" = ".join(sorted(c.values() if len(set(c.values())) > 1 else c)) for c in copies]
        if same:
            yield (
                f"{listing(sorted(same))}: the same image; where one trains and another tests, its score is too good. "
                "Take all but one out, unless they are meant to be there"
            )

    def require_one_kind_of_ct(self) -> None:
        """Raise an InputError where some images of a CT have 8 bits and others more."""
        reduced = sorted({name for name, found in self._all() if found.dtype == "uint8"})
        others = {found.dtype for _, found in self._all()} - {"uint8"}
        if reduced and others:
            raise InputError(
                f"{listing(reduced)}: pixels of 8 bits, among images of {', '.join(sorted(others))}; expected one "
                "kind, since nnU-Net normalises them together: put the original files there, or take these slices out"
            )

    def _all(self) -> Iterator[tuple[str, CaseFindings]]:
        return (item for cases in self.cases.values() for item in cases.items())
