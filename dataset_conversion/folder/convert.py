"""From a request to nnU-Net's raw format."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

from nnunet_pyconv.dataset_conversion.dataset_content import DatasetContent, dataset_folder
from nnunet_pyconv.dataset_conversion.folder.cases import case_of
from nnunet_pyconv.dataset_conversion.folder.label_coding import ColourCoding
from nnunet_pyconv.dataset_conversion.folder.pairing import Pairing, pair_by_name, without_labels
from nnunet_pyconv.dataset_conversion.folder.request import FolderRequest
from nnunet_pyconv.dataset_conversion.folder.survey import (
    coding_of_values,
    common_kind,
    look_through,
    numbered_by_index,
)
from nnunet_pyconv.dataset_conversion.splits import group_of, grouped_folds, set_aside
from nnunet_pyconv.dataset_conversion.write import write_dataset
from nnunet_pyconv.errors import InputError


def convert_folder(request: FolderRequest) -> Path:
    """Convert pairs of images and label images; print what is found, and what is odd.

    All files are read once before anything is written, so that what is wrong with them is said at once.

    Args:
        request: What the user asks for.

    Returns:
        The dataset folder.

    Raises:
        InputError: A source or a target that can't be used; nothing is written then.
    """
    target = dataset_folder(request.dataset_id, request.name, sources=request.sources, overwrite=request.overwrite)
    of_test = [folder for folder in (request.test_images, request.test_labels) if folder is not None]
    pairing, test_pairing = pair_by_name(request.images, request.labels, others=of_test), _test_pairing(request)
    for remark in (*pairing.remarks, *test_pairing.remarks):
        print(remark)
    pairs = [*pairing.pairs, *test_pairing.pairs]
    if not isinstance(request.coding, ColourCoding) and numbered_by_index(pairs, request.num_processes):
        pairs = [replace(pair, by_index=True) for pair in pairs]
    looks = look_through(pairs, request.coding, request.num_processes)
    kind = common_kind(looks, pairs, request.channels)
    for remark in kind.remarks:
        print(f"warning: {remark}", file=sys.stderr)
    coding = request.coding or coding_of_values({value for look in looks for value in look.values})
    if not any(look.has_foreground for look in looks[: len(pairing.pairs)]):
        raise InputError(
            f"no label image in {request.labels} has a pixel of {', '.join(coding.classes[1:])}; expected some: are "
            "the values, colours or the threshold that were given those of these files?"
        )
    cases = [case_of(pair, coding, kind.num_channels) for pair in pairs]
    train, test = cases[: len(pairing.pairs)], cases[len(pairing.pairs) :]
    groups = {} if request.group_by is None else {case.name: group_of(case, request.group_by) for case in train}
    if request.test_fraction is not None:
        train, test = set_aside(train, request.test_fraction, [groups[case.name] for case in train] if groups else None)
    dataset = DatasetContent(
        channels=kind.channels,
        classes=coding.classes,
        file_ending=kind.file_ending,
        training=train,
        test=test,
        folds=grouped_folds(train, [groups[case.name] for case in train]) if groups else (),
        text=f"Converted from {request.images.resolve().name} by nnunet_pyconv convert folder.",
        reference="not stated",
        licence="not stated",
    )
    write_dataset(target, dataset, num_processes=request.num_processes, overwrite=request.overwrite)
    return target


def _test_pairing(request: FolderRequest) -> Pairing:
    if request.test_images is None:
        return Pairing([])
    if request.test_labels is None:
        return without_labels(request.test_images, "-ti", "-tl", request.sources)
    return pair_by_name(request.test_images, request.test_labels, ("-ti", "-tl"), request.sources)
