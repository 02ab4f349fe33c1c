"""`nnunet_pyconv doctor`: check that a training could start, or that a trained model is whole."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's arguments."""
    parser.description = (
        "Check versions, device, nnU-Net's three folders, whether nnU-Net finds our trainer and whether plans "
        "resolve. The exit status is 0 only if a training could start. With MODEL_FOLDER, check instead that all "
        "checkpoints of a trained model are whole."
    )
    parser.add_argument(
        "model",
        type=Path,
        nargs="?",
        metavar="MODEL_FOLDER",
        help="nnUNet_results/DATASET/TRAINER__PLANS__CONFIGURATION",
    )
    parser.add_argument(
        "--clean",
        action="store_true",
        help="first clear away what killed processes left in nnU-Net's folders and in the current one: what had nearly "
        "been written is finished, the rest is removed; what a running process writes is left alone",
    )


def run(args: argparse.Namespace) -> None:
    """Print what was found; the exit status is 0 only if nothing blocks."""
    from nnunet_pyconv.doctor import examine, examine_model  # imports torch, which takes seconds
    from nnunet_pyconv.leftovers import find_leftovers

    if args.clean:
        for leftover in find_leftovers():
            leftover.clear()
            print(f"[ok] cleared away what was left of writing {leftover.path}")
    findings, goal = (
        (examine(), "a training can start")
        if args.model is None
        else (examine_model(args.model), "all checkpoints can be used")
    )
    blocking = 0
    for finding in findings:
        mark = "ok" if finding.fix is None else "!!" if finding.blocks else "--"
        print(f"[{mark}] {finding.subject}: {finding.state}")
        if finding.fix is not None:
            print(f"     fix: {finding.fix}")
        blocking += finding.blocks
    if blocking:
        print(f"\n{blocking} to fix before {goal}.")
        sys.exit(1)
    print(f"\n{goal.capitalize()}.")
