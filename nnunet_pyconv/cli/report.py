"""`nnunet_pyconv report`: tables and figures of what was trained and predicted."""

from __future__ import annotations

import argparse
import math
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from nnunet_pyconv.cli.parser import add_trust, positive
from nnunet_pyconv.errors import InputError
from nnunet_pyconv.names import REPORT_FOLDER, REPORT_PROCESSES, REPORT_TOLERANCE

if TYPE_CHECKING:
    from nnunet_pyconv.evaluation.report import ReportRequest


def run(args: argparse.Namespace) -> None:
    """Write the report and say where it is."""
    request = read_request(args)
    # imported here: it takes seconds
    from nnunet_pyconv.evaluation.report import write_report

    page = write_report(request).page
    print(f"Wrote {page}; the same tables and figures lie in {page.parent / 'tables'} and {page.parent / 'figures'}")


def read_request(args: argparse.Namespace) -> ReportRequest:
    """Check the arguments, and return what they ask for.

    Raises:
        InputError: Values that can't be used.
    """
    if not (math.isfinite(args.tolerance) and args.tolerance >= 0):
        raise InputError(f"--tolerance {args.tolerance}: expected a distance, 0 or more")
    predictions = _named_folders(args.predictions)
    if args.truth is not None and not predictions:
        raise InputError(f"-gt {args.truth} is the truth of --predictions NAME=FOLDER, and there are none; give them")
    from nnunet_pyconv.evaluation.models import ModelFilter
    from nnunet_pyconv.evaluation.report import ReportRequest
    from nnunet_pyconv.nnunet_folders import Setup

    setups = tuple(setup for name in args.models if (setup := Setup.parse(name)) is not None)
    if len(setups) < len(args.models):
        raise InputError(
            f"--models {' '.join(args.models)}: expected names of folders in nnUNet_results, such as "
            "nnUNetTrainer__nnUNetPlans__2d"
        )
    chosen = ModelFilter(args.trainers, args.plans, args.configurations, setups, args.folds)
    return ReportRequest(
        folder=args.folder,
        datasets=args.datasets,
        models=None if predictions and chosen == ModelFilter() else chosen,
        predictions=predictions,
        truth=args.truth,
        baseline=args.baseline,
        tolerance=args.tolerance,
        num_processes=args.num_processes,
        overwrite=args.overwrite,
        trust=args.trust,
    )


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's arguments."""
    parser.description = (
        "Write tables and figures of trained models: IoU, mean IoU with background, Dice, HD95 and normalised "
        "surface Dice of the validation cases (for ISBI 2012 also V_rand and V_info), with bootstrap intervals and "
        "paired tests against a baseline; training curves; the best, the median and the worst case. As one page "
        "for a browser, and as CSV, Markdown, PNG and SVG. Everything that nnUNet_results holds is taken unless "
        "-d, -tr, -p, -c, -f and --models choose. Scores of files that haven't changed come from your cache folder."
    )
    parser.epilog = "example: nnunet_pyconv report -d 312 -c 2d_pyconv_unet 2d_unet -f 0 -o report_312"
    add = parser.add_argument
    add("-d", dest="datasets", nargs="+", default=(), metavar="ID", help="dataset IDs or names")
    add("-tr", dest="trainers", nargs="+", default=(), metavar="TRAINER", help="trainers")
    add("-p", dest="plans", nargs="+", default=(), metavar="PLANS", help="plans")
    add("-c", dest="configurations", nargs="+", default=(), metavar="CONFIG", help="configurations")
    add(
        "--models",
        nargs="+",
        default=(),
        metavar="MODEL",
        help="models by the names of their folders, TRAINER__PLANS__CONFIG",
    )
    add("-f", dest="folds", nargs="+", default=(), metavar="FOLD", help="folds: 0 to 4, or all")
    add(
        "--predictions",
        nargs="+",
        default=[],
        metavar="NAME=FOLDER",
        help="folders of nnUNetv2_predict, each with a name, best that of the trained model, TRAINER__PLANS__CONFIG, "
        "or of one of its folds, TRAINER__PLANS__CONFIG/fold_0: tables of these cases, alone or, where -tr, -p, -c, "
        "--models or -f choose trained models, after those of their validation cases",
    )
    add(
        "-gt",
        dest="truth",
        type=Path,
        metavar="FOLDER",
        help="truth of --predictions (default: labelsTs of the dataset); all of its cases must have been predicted",
    )
    add(
        "--baseline",
        metavar="MODEL",
        help="what the others are tested against, as TRAINER__PLANS__CONFIG or as NAME of --predictions (default: "
        "2d_unet, else a stock trainer on plans with a network of nnU-Net's own, else the first; so also in tables "
        "that lack MODEL)",
    )
    add(
        "--tolerance",
        type=float,
        default=REPORT_TOLERANCE,
        metavar="MM",
        help="of the normalised surface Dice, in mm, or pixels where files carry no spacing (default: %(default)s)",
    )
    add(
        "-o",
        dest="folder",
        type=Path,
        default=Path(REPORT_FOLDER),
        metavar="DIR",
        help="where to (default: %(default)s)",
    )
    add(
        "-np",
        dest="num_processes",
        type=positive,
        default=REPORT_PROCESSES,
        metavar="N",
        help="cases at a time (default: %(default)s)",
    )
    add("--overwrite", action="store_true", help="replace an earlier report in DIR")
    add_trust(parser, "read the curves from")


def _named_folders(arguments: Sequence[str]) -> dict[str, Path]:
    named: dict[str, Path] = {}
    for argument in arguments:
        name, equals, folder = argument.partition("=")
        if not (name and equals and folder):
            raise InputError(f"--predictions {argument}: expected NAME=FOLDER")
        if name in named:
            raise InputError(f"--predictions: the name {name} is given twice; give each folder its own")
        named[name] = Path(folder)
    return named
