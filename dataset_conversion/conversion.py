"""Converting a dataset that has a converter of its own."""

from __future__ import annotations

from pathlib import Path

from nnunetv2.configuration import default_num_processes

from nnunet_pyconv.dataset_conversion.cases import Case
from nnunet_pyconv.dataset_conversion.dataset_content import DatasetContent, dataset_folder
from nnunet_pyconv.dataset_conversion.registry import Converter
from nnunet_pyconv.dataset_conversion.splits import NUM_FOLDS, Fold, set_aside
from nnunet_pyconv.dataset_conversion.write import write_dataset
from nnunet_pyconv.errors import InputError
from nnunet_pyconv.names import Protocol


def convert(
    converter: Converter,
    source: Path,
    *,
    dataset_id: int | None = None,
    foreground: str | None = None,
    protocol: Protocol = "clean",
    num_processes: int = default_num_processes,
    overwrite: bool = False,
) -> Path:
    """Write a dataset folder, whole or not at all, and print what is in it and what is odd.

    Args:
        converter: One of the registry, for example `isbi_cell`.
        source: Where the data lie.
        dataset_id: nnU-Net's dataset ID, 1 to 999; None for that of the description.
        foreground: Which of the description's foregrounds is label 1; None for the first.
        protocol: `clean` keeps the test cases out of `imagesTr`, so that nnU-Net's five folds are made of the others.
            `paper` puts them there as well and writes `splits_final.json`, in which they validate fold 0: the paper
            chose its best epoch on its test set.
        num_processes: Cases written at a time.
        overwrite: Whether to replace the dataset folder if it exists.

    Returns:
        The dataset folder.

    Raises:
        InputError: A source or a target that can't be used; nothing is written then.
    """
    description = converter.DESCRIPTION
    if dataset_id is None:
        dataset_id = description.dataset_id
    if foreground is None:
        foreground = description.foreground
    if foreground not in description.foregrounds:
        raise InputError(f"foreground {foreground}: expected {' or '.join(description.foregrounds)}")
    found = converter.find_cases(source)
    train, test = set_aside(found.labelled) if found.test is None else (list(found.labelled), list(found.test))
    if protocol == "clean" and len(train) < NUM_FOLDS:
        raise InputError(
            f"{source} has {len(train) + len(test)} labelled slices, {len(test)} of them for the test; expected at "
            f"least {NUM_FOLDS} others, as nnU-Net makes {NUM_FOLDS} folds of them (--protocol paper puts the test "
            "slices among them)"
        )
    if foreground == description.complement:
        train, test = [case.complemented() for case in train], [case.complemented() for case in test]
    target = dataset_folder(dataset_id, description.name, sources=[source], overwrite=overwrite)
    dataset = DatasetContent(
        channels=(description.channel,),
        classes=("background", foreground),
        file_ending=description.file_ending,
        training=train if protocol == "clean" else [*train, *test],
        test=test,
        unlabelled=found.unlabelled,
        folds=[] if protocol == "clean" else [_fold_0(train, test)],
        text=f"{description.text} Protocol: {protocol}.",
        reference=description.reference,
        licence=description.licence,
    )
    write_dataset(target, dataset, num_processes=num_processes, overwrite=overwrite)
    return target


def _fold_0(train: list[Case], test: list[Case]) -> Fold:
    return [case.name for case in train], [case.name for case in test]
