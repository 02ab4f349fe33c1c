"""`nnunet_pyconv report`: tables and figures of what was trained and predicted."""

from __future__ import annotations

import argparse
import importlib.util
import math
import shlex
from collections.abc import Sequence
from pathlib import Path

from nnunet_pyconv.errors import InputError

_EXTRA = ("jinja2", "monai", "PIL")


def run(args: argparse.Namespace) -> None:
    """Write the report and say where it is."""
    write(args)


def require_extra() -> None:
    """Raise an InputError where the extra of the report is not installed."""
    missing = [name for name in _EXTRA if importlib.util.find_spec(name) is None]
    if missing:
        raise InputError(
            f"the report needs {', '.join(missing)}, which is not installed; install the extra of this package: "
            'pip install "nnunet-pyconv[report]"'
        )


def write(args: argparse.Namespace) -> Path:
    """Write the report and return its page."""
    require_extra()
    # imported here: they need the extra
    from nnunet_pyconv.evaluation.dataset import find_dataset
    from nnunet_pyconv.evaluation.report import Request, write_report
    from nnunet_pyconv.evaluation.systems import Choice, datasets_with_results

    if args.num_processes < 1:
        raise InputError(f"-np {args.num_processes}: at least one case at a time has to be scored")
    if not (math.isfinite(args.tolerance) and args.tolerance >= 0):
        raise InputError(f"--tolerance {args.tolerance}: expected a distance, 0 or more")
    predictions = _named_folders(args.predictions)
    if args.truth is not None and not predictions:
        raise InputError(f"-gt {args.truth} is the truth of --predictions NAME=FOLDER, and there are none; give them")
    chosen = (args.trainers, args.plans, args.configurations, args.folds)
    choice = None if predictions and not any(chosen) else Choice(*chosen)
    names = args.datasets or datasets_with_results(choice or Choice())
    if not names:
        raise InputError(
            "nnUNet_results holds no trained model that -tr, -p and -c choose; train one, or give -d and "
            "--predictions NAME=FOLDER"
        )
    datasets = {dataset.name: dataset for dataset in map(find_dataset, names)}
    if predictions and len(datasets) > 1:
        raise InputError(f"--predictions are of one dataset, and there are {', '.join(datasets)}; choose it with -d")
    request = Request(
        datasets=list(datasets.values()),
        choice=choice,
        predictions=predictions,
        truth=args.truth,
        baseline=args.baseline,
        tolerance=args.tolerance,
        num_processes=args.num_processes,
        command=shlex.join(args.argv),
        trust=args.trust,
    )
    page = write_report(request, args.folder, overwrite=args.overwrite)
    print(f"Wrote {page}; the same tables and figures lie in {page.parent / 'tables'} and {page.parent / 'figures'}")
    return page


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's arguments."""
    parser.description = (
        "Write tables and figures of trained models: IoU, mean IoU with background, Dice, HD95 and normalised "
        "surface Dice of the validation cases (for ISBI 2012 also V_rand and V_info), with bootstrap intervals and "
        "paired tests against a baseline; training curves; the best, the median and the worst case. As one page "
        "for a browser, and as CSV, Markdown, PNG and SVG. Everything that nnUNet_results holds is taken unless "
        "-d, -tr, -p, -c and -f choose."
    )
    parser.epilog = "example: nnunet_pyconv report -d 312 -c 2d_pyconv_unet 2d_unet -f 0 -o report_312"
    add = parser.add_argument
    add("-d", dest="datasets", nargs="+", metavar="ID", help="dataset IDs or names")
    add("-tr", dest="trainers", nargs="+", metavar="TRAINER", help="trainers")
    add("-p", dest="plans", nargs="+", metavar="PLANS", help="plans")
    add("-c", dest="configurations", nargs="+", metavar="CONFIG", help="configurations")
    add("-f", dest="folds", nargs="+", metavar="FOLD", help="folds: 0 to 4, or all")
    add(
        "--predictions",
        nargs="+",
        default=[],
        metavar="NAME=FOLDER",
        help="folders of nnUNetv2_predict, each with a name: tables of these cases, alone or, where -tr, -p, -c or -f "
        "choose trained models, after those of their validation cases",
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
        metavar="SYSTEM",
        help="what the others are tested against, as TRAINER__PLANS__CONFIG or as NAME of --predictions (default: "
        "2d_unet, else a stock trainer on plans with a network of nnU-Net's own, else the first; so also in tables "
        "that lack SYSTEM)",
    )
    add(
        "--tolerance",
        type=float,
        default=1.0,
        metavar="MM",
        help="of the normalised surface Dice, in mm, or pixels where files carry no spacing (default: %(default)s)",
    )
    add(
        "-o",
        dest="folder",
        type=Path,
        default=Path("nnunet_pyconv_report"),
        metavar="DIR",
        help="where to (default: %(default)s)",
    )
    add("-np", dest="num_processes", type=int, default=4, metavar="N", help="cases at a time (default: %(default)s)")
    add("--overwrite", action="store_true", help="replace an earlier report in DIR")
    add(
        "--trust",
        action="store_true",
        help="read the curves from checkpoints that hold more than nnU-Net's do; this runs the code in them, so use it "
        "for your own only",
    )


def _named_folders(arguments: Sequence[str]) -> dict[str, Path]:
    named: dict[str, Path] = {}
    for argument in arguments:
        name, equals, folder = argument.partition("=")
        if not (name and equals and folder) or "__" in name:
            raise InputError(f"--predictions {argument}: expected NAME=FOLDER, without __ in the name")
        if name in named:
            raise InputError(f"--predictions: the name {name} stands twice; give each folder its own")
        named[name] = Path(folder)
    return named
