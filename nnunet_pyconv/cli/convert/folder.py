"""`nnunet_pyconv convert folder`: a user's own images and label images."""

from __future__ import annotations

import argparse
import re
from pathlib import Path
from typing import Literal

from nnunet_pyconv.cli.convert.common import add_common_arguments, say_what_next
from nnunet_pyconv.errors import InputError


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of `folder`."""
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
        type=_threshold,
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
        help="names of the channels; they decide nnU-Net's normalisation: CT for Hounsfield units, noNorm, "
        "rescale_to_0_1 and rgb_to_0_1 as they say, others z-score (default: grey, or R G B; of volumes, image)",
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
    add_common_arguments(parser)


def run(args: argparse.Namespace) -> None:
    """Convert the folder and say how to go on.

    Raises:
        InputError: A source or a target that can't be used; nothing is written then.
    """
    from nnunet_pyconv.dataset_conversion.folder.convert import convert_folder  # these import nnU-Net: seconds
    from nnunet_pyconv.dataset_conversion.folder.label_options import coding_of
    from nnunet_pyconv.dataset_conversion.folder.request import FolderRequest

    try:
        group_by = None if args.group_by is None else re.compile(args.group_by)
    except re.error as error:
        raise InputError(
            f"--group-by {args.group_by}: {error}; expected a regular expression, such as ^[^_]+"
        ) from error
    target = convert_folder(
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
    say_what_next(target)


def _threshold(text: str) -> float | Literal["half"]:
    """Read the value of --threshold."""
    return "half" if text == "half" else float(text)
