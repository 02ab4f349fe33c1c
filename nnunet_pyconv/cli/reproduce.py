"""`nnunet_pyconv reproduce`: the paper's experiment."""

from __future__ import annotations

import argparse
import math
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from nnunetv2.configuration import default_num_processes

from nnunet_pyconv import paper
from nnunet_pyconv.cli.parser import positive
from nnunet_pyconv.errors import InputError
from nnunet_pyconv.names import DEVICES, EXECUTORS, FOLDS, PROTOCOLS, RECIPES, SEED_VARIABLE, STOCK_NNUNET

if TYPE_CHECKING:
    from collections.abc import Callable

    from nnunet_pyconv.reproduction import ExperimentRequest


def run(args: argparse.Namespace) -> None:
    """Run the experiment, report on what is done and list what failed; the exit status is 1 if something did."""
    from nnunet_pyconv.device import pick_device  # these import torch, which takes seconds
    from nnunet_pyconv.evaluation.report import MODULES
    from nnunet_pyconv.extras import require_extra
    from nnunet_pyconv.reproduction import (
        commands,
        pack,
        preparations_of,
        reproduce,
        runs_of,
        unpack,
        write_reports,
    )

    request = _request(args)
    parameters = _parameters(args.slurm)
    if args.executor == "local":
        if parameters:
            raise InputError(f"--slurm {' '.join(args.slurm)} is for --executor slurm, and this is local; give one")
        pick_device(request.device)
    if args.unpack is not None:
        folds = unpack(args.unpack)
        print(f"Unpacked {len(folds)} runs into nnUNet_results; the same command without --unpack goes on with them")
        return
    if args.pack is not None:
        number = pack(runs_of(request, preparations_of(request)), args.pack, overwrite=args.overwrite)
        print(f"Packed {number} runs into {args.pack}; go on elsewhere with --unpack")
        return
    if args.dry_run:
        print("\n".join(commands(request, args.folder)))
        return
    require_extra("report", *MODULES)
    if args.folder.exists() and not args.folder.is_dir():
        raise InputError(f"-o {args.folder} is a file; give a folder for the reports")
    runs, outcomes = reproduce(request, args.executor, parameters)
    failures = [f"{outcome.job}: {outcome.failure}\n    log: {outcome.log}" for outcome in outcomes if outcome.failure]
    done = [run for run in runs if run.is_done]
    print(f"\nDone: {len(done)} of {len(runs)} runs")
    failures += write_reports(done, args.folder)
    if failures:
        print("\nNot done; the same command tries these again:", file=sys.stderr)
        print("\n".join(f"  {failure}" for failure in failures), file=sys.stderr)
        sys.exit(1)


def _request(args: argparse.Namespace) -> ExperimentRequest:
    from nnunet_pyconv.device import pick_device
    from nnunet_pyconv.reproduction import ExperimentRequest

    if sum((args.dry_run, args.pack is not None, args.unpack is not None)) > 1:
        raise InputError("--dry_run, --pack and --unpack do different things; give one of them")
    if args.overwrite and args.pack is None:
        raise InputError("--overwrite is for --pack: results that exist are never replaced")
    if args.target_spacing is not None and not all(0 < step < math.inf for step in args.target_spacing):
        given = " ".join(f"{step:g}" for step in args.target_spacing)
        raise InputError(f"-overwrite_target_spacing {given}: expected two sizes of a pixel above 0, for example 2 2")
    if args.seed is not None and not 0 <= args.seed < 2**32:
        raise InputError(f"--seed {args.seed}: expected a whole number from 0 to 2^32 - 1")
    request = ExperimentRequest(
        datasets=list(dict.fromkeys(args.datasets)),
        networks=list(dict.fromkeys(args.networks)),
        recipe=args.recipe,
        folds=list(dict.fromkeys(args.folds)),
        # a cluster's login node need not have what its other nodes have
        device=args.device or ("cuda" if args.executor == "slurm" else pick_device(None).type),
        num_processes=args.num_processes,
        num_gpus=args.num_gpus,
        trainer=args.trainer,
        seed=args.seed,
        target_spacing=None if args.target_spacing is None else tuple(args.target_spacing),
        protocol=args.protocol,
    )
    if request.num_gpus > 1 and request.device != "cuda":
        raise InputError(
            f"-num_gpus {request.num_gpus} is for -device cuda, and this is {request.device}; leave it out"
        )
    return request


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's arguments."""
    parser.description = (
        "Run the paper's experiment: its networks on its datasets, trained, validated, and tested on imagesTs, "
        "through nnU-Net's own commands; then print its Table 2, ours beside the paper's figures, and write the "
        "report on each dataset. What is done, which means that it loads and covers all cases, is not done again: "
        "the same command continues a run that was ended, from nnU-Net's checkpoints. A run that fails leaves the "
        "others alone and is listed at the end, with its log. The datasets have to be converted before "
        "(nnunet_pyconv convert DATASET, with --protocol paper for the paper's split)."
    )
    parser.epilog = (
        "examples: nnunet_pyconv reproduce --datasets isbi_cell --networks pyconv_unet unet --dry_run; on new images, "
        f"beside stock nnU-Net: nnunet_pyconv reproduce --protocol clean --networks pyconv_unet unet {STOCK_NNUNET}; "
        "shortened: nnunet_pyconv reproduce -tr nnUNetTrainerPyConvPaper_5epochs -overwrite_target_spacing 2 2"
    )
    for add in (_add_what, _add_how, _add_where):
        add(parser.add_argument)


def _add_what(add: Callable[..., object]) -> None:
    datasets = [dataset.key for dataset in paper.DATASETS]
    add("--datasets", nargs="+", choices=datasets, default=datasets, help="default: all")
    add(
        "--networks",
        nargs="+",
        choices=[*(network.key for network in paper.NETWORKS), STOCK_NNUNET],
        default=[network.key for network in paper.NETWORKS if network.table_2],
        help=f"default: the six of the paper's Table 2. {STOCK_NNUNET} is nnU-Net's own 2D network with nnU-Net's own "
        "recipe, for as many images as the others see",
    )
    add(
        "-f",
        dest="folds",
        nargs="+",
        choices=FOLDS,
        default=["0"],
        help="folds (default: 0, the only one of the paper's split)",
    )
    add(
        "--protocol",
        choices=PROTOCOLS,
        help="which conversion of a dataset, where there are two: the paper's, in which the test images choose the "
        "best epoch, or the clean one, in which they have no part (default: the one there is)",
    )


def _add_how(add: Callable[..., object]) -> None:
    add(
        "--recipe",
        choices=RECIPES,
        default="paper",
        help=f"paper: 50 epochs of {RECIPES['paper']}; nnunet: nnU-Net's own recipe for as many images, "
        f"{RECIPES['nnunet']} (default: %(default)s)",
    )
    add(
        "-tr",
        dest="trainer",
        metavar="TRAINER",
        help="a trainer instead of the recipe's, e.g. nnUNetTrainerPyConvPaper_5epochs",
    )
    add(
        "-overwrite_target_spacing",
        dest="target_spacing",
        type=float,
        nargs=2,
        metavar=("Y", "X"),
        help="train on images resampled to pixels of this size, as nnU-Net's option: 2 2 halves the resolution of the "
        "paper's pictures, whose pixels count as 1 x 1. Plans, preprocessed data and results get names of their own; "
        "predictions are at full resolution (default: the images as they are)",
    )
    add(
        "--seed",
        type=int,
        metavar="N",
        help=f"seeds the initial weights, and with the paper's recipe the order of the cases and their augmentation "
        f"({SEED_VARIABLE} for the trainer). Sums on a GPU still differ from run to run, nnU-Net's own augmentation "
        "seeds itself, and a training that was interrupted differs from one that was not (default: no seed)",
    )


def _add_where(add: Callable[..., object]) -> None:
    add("-device", choices=DEVICES, help="where the networks run (default: a GPU if there is one; cuda with slurm)")
    add("-num_gpus", type=positive, default=1, metavar="N", help="GPUs a training (default: %(default)s)")
    add(
        "-np",
        dest="num_processes",
        type=positive,
        default=default_num_processes,
        metavar="N",
        help="processes that preprocess and evaluate (default: %(default)s)",
    )
    add(
        "--executor",
        choices=EXECUTORS,
        default="local",
        help="local: one after another; slurm: as jobs of a cluster; both through submitit (default: %(default)s)",
    )
    add(
        "--slurm",
        nargs="+",
        default=[],
        metavar="KEY=VALUE",
        help="parameters of submitit's SlurmExecutor, e.g. partition=gpu time=2880 (in minutes)",
    )
    add("--dry_run", action="store_true", help="print the commands that are left, and run nothing")
    add(
        "--pack",
        type=Path,
        metavar="FILE",
        help="write the results of these runs, finished or not, into a tar file, and run nothing",
    )
    add(
        "--unpack",
        type=Path,
        metavar="FILE",
        help="put the runs of such a file into nnUNet_results, and run nothing; take only files that you trust, since "
        "nnU-Net loads checkpoints in a way that executes code in them",
    )
    add("--overwrite", action="store_true", help="replace the file of --pack")
    add(
        "-o",
        dest="folder",
        type=Path,
        default=Path(),
        metavar="DIR",
        help="where the reports go, each into a folder of its own; one of an earlier run with the same trainer and "
        "folds is replaced (default: here)",
    )


def _parameters(pairs: Sequence[str]) -> dict[str, str | int]:
    parameters: dict[str, str | int] = {}
    for pair in pairs:
        key, equals, value = pair.partition("=")
        if not (key and equals and value):
            raise InputError(f"--slurm {pair}: expected KEY=VALUE")
        parameters[key] = int(value) if value.isdecimal() else value
    return parameters
