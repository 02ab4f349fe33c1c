"""What every converter does: split the cases, write them, say what was odd."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from batchgenerators.utilities.file_and_folder_operations import save_json
from nnunetv2.configuration import default_num_processes
from sklearn.model_selection import train_test_split

from nnunet_pyconv.dataset_conversion.cases import Case, Report, write_cases
from nnunet_pyconv.dataset_conversion.raw_dataset import (
    Dataset,
    dataset_folder,
    preprocessed_before,
    write_dataset_json,
)
from nnunet_pyconv.dataset_conversion.source_files import listing
from nnunet_pyconv.errors import InputError, run_command
from nnunet_pyconv.writing import whole_folder

PROTOCOLS = ("clean", "paper")
NUM_FOLDS = 5  # that nnU-Net makes of imagesTr


def split_of_the_paper(cases: Sequence[Case]) -> tuple[list[Case], list[Case]]:
    """Set 20 % aside: scikit-learn's `train_test_split(test_size=0.2, random_state=41)` over the sorted cases.

    Args:
        cases: In their order.

    Returns:
        Training and test cases, each in their order.

    Raises:
        InputError: Fewer than two cases.
    """
    if len(cases) < 2:
        raise InputError(f"found {len(cases)} labelled slice; expected at least 2, a fifth is set aside for the test")
    train = set(train_test_split(range(len(cases)), test_size=0.2, random_state=41)[0])
    return (
        [case for number, case in enumerate(cases) if number in train],
        [case for number, case in enumerate(cases) if number not in train],
    )


def convert_cases(
    dataset: Dataset,
    source: Path,
    train: Sequence[Case],
    test: Sequence[Case],
    *,
    foreground: str,
    unlabelled: Sequence[Case] = (),
    dataset_id: int,
    protocol: str,
    num_processes: int,
    overwrite: bool,
) -> Path:
    """Write a dataset folder, whole or not at all, and print what was odd.

    Args:
        dataset: What the folder says about itself.
        source: Where the cases come from.
        train: Cases that train.
        test: Cases that the paper tested on; they go to `imagesTs` and `labelsTs`.
        foreground: Name of label 1.
        unlabelled: Cases without labels; they go to `imagesChallenge`, which nnU-Net leaves alone.
        dataset_id: nnU-Net's dataset ID.
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
    target = dataset_folder(dataset_id, dataset.name, source=source, overwrite=overwrite)
    if protocol == "clean" and len(train) < NUM_FOLDS:
        raise InputError(
            f"{source} has {len(train) + len(test)} labelled slices, {len(test)} of them for the test; expected at "
            f"least {NUM_FOLDS} others, as nnU-Net makes {NUM_FOLDS} folds of them (--protocol paper needs but one)"
        )
    training_folder = train if protocol == "clean" else [*train, *test]
    report = Report()
    with whole_folder(target) as folder:
        for cases, images, labels in (
            (training_folder, "imagesTr", "labelsTr"),
            (test, "imagesTs", "labelsTs"),
            (unlabelled, "imagesChallenge", None),
        ):
            if cases:
                write_cases(
                    folder,
                    cases,
                    report,
                    images=images,
                    labels=labels,
                    file_ending=dataset.file_ending,
                    num_processes=num_processes,
                )
        if dataset.channel_name == "CT":
            _require_no_reduced_images(report)
        if protocol == "paper":
            split = {"train": report.names_written(train), "val": report.names_written(test)}
            save_json([split], str(folder / "splits_final.json"), sort_keys=False)
        write_dataset_json(
            folder,
            dataset,
            protocol=protocol,
            foreground=foreground,
            num_training=len(report.names_written(training_folder)),
        )
    for remark, names in report.remarks.items():
        print(f"warning: {listing(sorted(names))}: {remark}", file=sys.stderr)
    if same := [" = ".join(sorted(names)) for names in report.same_images()]:
        print(
            f"warning: {listing(sorted(same))}: the same image; where one trains and another tests, its score is too "
            "good. Take all but one out, unless they are meant to be there",
            file=sys.stderr,
        )
    return target


def _require_no_reduced_images(report: Report) -> None:
    """Raise an InputError where some images of a CT have 8 bits and others more: nnU-Net normalises them together."""
    reduced = report.dtypes.get("uint8", set())
    others = report.dtypes.keys() - {"uint8"}
    if reduced and others:
        raise InputError(
            f"{listing(sorted(reduced))}: pixels of 8 bits, among images of {', '.join(sorted(others))}; expected one "
            "kind, since nnU-Net normalises them together: put the original files there, or take these slices out"
        )


def add_common_arguments(parser: argparse.ArgumentParser, dataset: Dataset, description: str | None) -> None:
    """Add the flags that all converters have."""
    parser.description = description
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument(
        "-i", dest="source", type=Path, required=True, metavar="SRC", help="folder of the downloaded data"
    )
    parser.add_argument(
        "-d",
        dest="dataset_id",
        type=int,
        default=dataset.dataset_id,
        metavar="ID",
        help="dataset ID (default: %(default)s)",
    )
    parser.add_argument(
        "-np",
        dest="num_processes",
        type=int,
        default=default_num_processes,
        metavar="N",
        help="cases written at a time (default: %(default)s)",
    )
    parser.add_argument(
        "--protocol",
        choices=PROTOCOLS,
        default="clean",
        help="clean: the test cases test only; paper: they also validate fold 0, by splits_final.json "
        "(default: %(default)s)",
    )
    parser.add_argument("--overwrite", action="store_true", help="replace the dataset folder if it exists")


def run_converter(convert: Callable[..., Path], args: argparse.Namespace, **options: Any) -> None:
    """Run a converter from the command line.

    Args:
        convert: Takes the arguments of `add_common_arguments` by name.
        args: Parsed.
        **options: Further arguments of `convert`.

    Raises:
        InputError: As `convert`.
    """
    if args.num_processes < 1:
        raise InputError(f"-np {args.num_processes}: at least one case at a time has to be written")
    target = convert(
        args.source,
        dataset_id=args.dataset_id,
        protocol=args.protocol,
        num_processes=args.num_processes,
        overwrite=args.overwrite,
        **options,
    )
    print(f"Wrote {target}")
    if (earlier := preprocessed_before(target)) is not None:
        print(f"{earlier} was made from an earlier dataset of this name: remove it before you go on")
    print(f"Next: nnUNetv2_plan_and_preprocess -d {args.dataset_id} -c 2d --verify_dataset_integrity")


def run_as_script(
    add_arguments: Callable[[argparse.ArgumentParser], None], run: Callable[[argparse.Namespace], None]
) -> None:
    """Run a converter's module as nnU-Net's are run: `python dataset_conversion/isbi_cell.py -i SRC`."""
    parser = argparse.ArgumentParser()
    add_arguments(parser)
    args = parser.parse_args()
    run_command(lambda: run(args))
