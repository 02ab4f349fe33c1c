"""Which cases train, which validate and which test."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence

from sklearn.model_selection import GroupKFold, GroupShuffleSplit, train_test_split

from nnunet_pyconv.dataset_conversion.cases import Case
from nnunet_pyconv.errors import InputError

NUM_FOLDS = 5  # that nnU-Net makes of imagesTr
SEED = 41  # the paper's

Fold = tuple[list[str], list[str]]  # names of the cases that train, and of those that validate


def set_aside(
    cases: Sequence[Case], fraction: float = 0.2, groups: Sequence[str] | None = None
) -> tuple[list[Case], list[Case]]:
    """Set a part of the cases aside for the test.

    Without groups it is the paper's split: scikit-learn's `train_test_split(test_size=0.2, random_state=41)` over the
    sorted cases.

    Args:
        cases: In their order.
        fraction: What part, between 0 and 1.
        groups: The group of each case, for example its patient: cases of one group stay together, and the fraction
            is that of the groups. None where each case is its own.

    Returns:
        Training and test cases, each in their order.

    Raises:
        InputError: Too few cases or groups.
    """
    together = sorted(set(groups)) if groups is not None else range(len(cases))
    if len(together) < 2:
        what = "labelled case" if groups is None else "group of cases"
        raise InputError(f"found {len(together)} {what}; expected at least 2, some are set aside for the test")
    if math.ceil(len(together) * fraction) >= len(together):
        what = "labelled cases" if groups is None else "groups of cases"
        raise InputError(
            f"--test {fraction:g} of {len(together)} {what} leaves none to train; expected a smaller fraction"
        )
    if groups is None:
        train = set(train_test_split(range(len(cases)), test_size=fraction, random_state=SEED)[0])
    else:
        split = GroupShuffleSplit(1, test_size=fraction, random_state=SEED)
        train = set(next(split.split(range(len(cases)), groups=groups))[0])
    return (
        [case for number, case in enumerate(cases) if number in train],
        [case for number, case in enumerate(cases) if number not in train],
    )


def group_of(case: Case, pattern: re.Pattern[str]) -> str:
    """Return the group in the name of a case: the pattern's first group, or all that it matches.

    Raises:
        InputError: A name that the pattern does not match.
    """
    match = pattern.search(case.name)
    if match is None:
        raise InputError(
            f"--group-by {pattern.pattern}: does not match the case {case.name}; expected a regular expression that "
            "finds the patient in the name of each case, for example '^[^_]+' for what stands before the first _"
        )
    return match.group(1) or "" if pattern.groups else match.group()


def grouped_folds(cases: Sequence[Case], groups: Sequence[str]) -> list[Fold]:
    """Make nnU-Net's five folds so that all cases of a group are in one.

    Raises:
        InputError: Fewer groups than folds.
    """
    if (count := len(set(groups))) < NUM_FOLDS:
        raise InputError(
            f"--group-by finds {count} group{'s' * (count != 1)} of training cases "
            f"({', '.join(sorted(set(groups)))}); expected at least {NUM_FOLDS}, one for each fold"
        )
    names = [case.name for case in cases]
    return [
        ([names[number] for number in train], [names[number] for number in validation])
        for train, validation in GroupKFold(NUM_FOLDS).split(names, groups=groups)
    ]
