"""`nnunet_pyconv convert DATASET`: to nnU-Net's raw format."""

from __future__ import annotations

import argparse
import inspect
import re
from collections.abc import Sequence
from pathlib import Path

from nnunetv2.configuration import default_num_processes

from nnunet_pyconv.dataset_conversion.folder.label_options import coding_of
from nnunet_pyconv.dataset_conversion.folder.request import FolderRequest
from nnunet_pyconv.dataset_conversion.registry import CONVERTERS, Converter
from nnunet_pyconv.errors import InputError

FOLDER = "folder"


def main(argv: Sequence[str], prog: str) -> None:
    """Convert a dataset."""
    parser = argparse.ArgumentParser(prog=prog)
    add_arguments(parser)
    run(parser.parse_args(argv))


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add a parser for a user's own folders and one for each dataset that has a converter."""
    parser.description = "Convert a dataset to nnU-Net's raw format, below nnUNet_raw."
    parser.epilog = f"{parser.prog} DATASET -h tells more."
    datasets = parser.add_subparsers(title="datasets", dest="dataset", metavar="DATASET", required=True)
    _add_folder_arguments(datasets.add_parser(FOLDER, help="your own images and label images, or volumes"))
    for name, converter in CONVERTERS.items():
        _add_converter_arguments(datasets.add_parser(name, help=converter.DESCRIPTION.summary), converter)


def run(args: argparse.Namespace) -> None:
    """Convert the dataset and say how to go on.

    Raises:
        InputError: A source or a target that can't be used; nothing is written then.
    """
    if args.num_processes < 1:
        raise InputError(f"-np {args.num_processes}: expected at least one case at a time")
    target = _convert_folder(args) if args.dataset == FOLDER else _convert(args)
    from nnunet_pyconv.dataset_conversion.raw_dataset import preprocessed_before
    from nnunet_pyconv.dataset_conversion.write import PREVIEW

    print(f"Wrote {target}")
    print(f"Look at {target / PREVIEW}: do the outlines lie where they should?")
    if (earlier := preprocessed_before(target)) is not None:
        print(f"{earlier} was made from an earlier dataset of this name: remove it before you go on")
    is_volumes = not list((target / "labelsTr").glob("*.[pt][ni][gf]"))
    configuration = "" if is_volumes else "-c 2d "
    print(f"Next: nnUNetv2_plan_and_preprocess -d {int(target.name[7:10])} {configuration}--verify_dataset_integrity")


def _add_common_arguments(parser: argparse.ArgumentParser) -> None:
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument(
        "-np",
        dest="num_processes",
        type=int,
        default=default_num_processes,
        metavar="N",
        help="cases at a time (default: %(default)s)",
    )
    parser.add_argument("--overwrite", action="store_true", help="replace the dataset folder if it exists")


def _add_converter_arguments(parser: argparse.ArgumentParser, converter: Converter) -> None:
    description = converter.DESCRIPTION
    parser.description = inspect.getdoc(converter)
    add = parser.add_argument
    add("-i", dest="source", type=Path, required=True, metavar="SRC", help="folder of the downloaded data")
    add(
        "-d",
        dest="dataset_id",
        type=int,
        default=description.dataset_id,
        metavar="ID",
        help="dataset ID (default: %(default)s)",
    )
    add(
        "--protocol",
        choices=("clean", "paper"),
        default="clean",
        help="clean: the test cases test only; paper: they also validate fold 0, by splits_final.json "
        "(default: %(default)s)",
    )
    if description.complement is not None:
        add(
            "--foreground",
            choices=description.foregrounds,
            default=description.foreground,
            help="which class is label 1 (default: %(default)s, as in the paper)",
        )
    _add_common_arguments(parser)


def _convert(args: argparse.Namespace) -> Path:
    from nnunet_pyconv.dataset_conversion.conversion import convert  # imports nnU-Net, which takes seconds

    return convert(
        CONVERTERS[args.dataset],
        args.source,
        dataset_id=args.dataset_id,
        foreground=getattr(args, "foreground", None),
        protocol=args.protocol,
        num_processes=args.num_processes,
        overwrite=args.overwrite,
    )


def _add_folder_arguments(parser: argparse.ArgumentParser) -> None:
    parser.description = """Convert your own images and label images.

Pictures (PNG, JPEG, BMP, GIF, TIFF; grey or colour, 8 or 16 bit) or volumes (NIfTI, NRRD, MetaImage). A label image has
the name of its image, perhaps with a word such as _mask, _segmentation or _GT; several of one image are merged. Label
images of two values need no option. All files are read once before anything is written."""
    parser.epilog = f"""examples:
  {parser.prog} -i photos -l masks -d 501 -n Nuclei --labels background=0 nucleus=255 --test 0.2
  {parser.prog} -i photos -l painted -d 502 -n Tissue --colours stroma=0,255,0 tumour=#ff0000
  {parser.prog} -i scans -l scans -d 503 -n Kidney --channels CT --group-by '^[^_]+'"""
    add = parser.add_argument
    add("-i", dest="images", type=Path, required=True, metavar="IMAGES", help="folder of the images; subfolders count")
    add(
        "-l",
        dest="labels",
        type=Path,
        metavar="LABELS",
        help="folder of the label images (default: that of the images)",
    )
    add("-d", dest="dataset_id", type=int, required=True, metavar="ID", help="dataset ID, 1 to 999, not yet taken")
    add("-n", dest="name", required=True, metavar="NAME", help="name of the dataset, such as Nuclei")
    add(
        "--labels",
        dest="values",
        nargs="+",
        metavar="NAME=VALUE",
        help="the classes and their values in the label images (several: NAME=1,2); of a palette image with colours, "
        "the index. A class named ignore does not count in training (default: 0 is background, the other value "
        "foreground)",
    )
    add(
        "--colours",
        nargs="+",
        metavar="NAME=R,G,B",
        help="the classes and their colours in the label images, also as NAME=#rrggbb (default background: black)",
    )
    add(
        "--threshold",
        nargs="?",
        type=float,
        const="half",
        metavar="VALUE",
        help="for label images with blurred edges or JPEG compression: values from VALUE on are foreground (default: "
        "half of white); with --colours, each pixel takes the nearest colour. Says how many pixels that changes",
    )
    add(
        "--instances",
        metavar="NAME",
        help="label images number their objects: make all of them one class (touching ones merge)",
    )
    add(
        "--channels",
        nargs="+",
        metavar="NAME",
        help="names of the channels; they decide nnU-Net's normalisation: CT for Hounsfield units, others z-score "
        "(default: grey, or R G B; of volumes, image)",
    )
    test = parser.add_argument_group("test set")
    test.add_argument(
        "--test", type=float, metavar="FRACTION", help="set this part of the cases aside, such as 0.2 (same each time)"
    )
    test.add_argument("-ti", dest="test_images", type=Path, metavar="DIR", help="folder of test images")
    test.add_argument("-tl", dest="test_labels", type=Path, metavar="DIR", help="folder of their label images, if any")
    add(
        "--group-by",
        metavar="REGEX",
        help="finds the patient in a case's name (its first group, or all that matches): cases of one patient stay in "
        "one fold (splits_final.json), and on one side of --test",
    )
    _add_common_arguments(parser)


def _convert_folder(args: argparse.Namespace) -> Path:
    from nnunet_pyconv.dataset_conversion.folder.convert import convert_folder  # imports nnU-Net, which takes seconds

    try:
        group_by = None if args.group_by is None else re.compile(args.group_by)
    except re.error as error:
        raise InputError(
            f"--group-by {args.group_by}: {error}; expected a regular expression, such as ^[^_]+"
        ) from error
    return convert_folder(
        FolderRequest(
            args.images,
            args.images if args.labels is None else args.labels,
            args.dataset_id,
            args.name,
            coding=coding_of(
                labels=args.values, colours=args.colours, threshold=args.threshold, instances=args.instances
            ),
            channels=None if args.channels is None else tuple(args.channels),
            test_fraction=args.test,
            test_images=args.test_images,
            test_labels=args.test_labels,
            group_by=group_by,
            num_processes=args.num_processes,
            overwrite=args.overwrite,
        )
    )
