"""`nnunet_pyconv benchmark all`."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from nnunet_pyconv.errors import InputError


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the subject's arguments."""
    parser.description = (
        "Run the subjects that compare PyConv with the stock network, as steps, the most important first: layers, 2D "
        "(512 x 512, batch 12) and 3D (128 x 128 x 128, batch 2) networks compiled and not, prediction, memory. Each "
        "step is a process of its own and writes Markdown and JSON into DIR/STEP. The same command goes on where an "
        "earlier one ended: a step that has its tables is not run again, so remove its folder to repeat it. The "
        "paper's experiment comes last, on the datasets that are converted; it can be ended at any time, and goes on "
        "from nnU-Net's checkpoints."
    )
    add = parser.add_argument
    add("-device", choices=("cpu", "cuda"), help="where to measure (default: cuda if torch sees it)")
    add("-o", dest="folder", type=Path, metavar="DIR", required=True, help="where the tables go")
    add("--steps", nargs="+", metavar="STEP", help="only these (default: all; --list prints them)")
    add("--list", action="store_true", help="print the commands of the steps, and run none")
    add("--rehearse", action="store_true", help="measure the smallest sizes, to see that all steps run here")


def run(args: argparse.Namespace) -> None:
    """Run the steps; the exit status is 1 if one failed."""
    from nnunet_pyconv.benchmarks.kit import STEPS, run_kit
    from nnunet_pyconv.device import available_devices, pick_device

    names = [step.name for step in STEPS]
    if unknown := [name for name in args.steps or () if name not in names]:
        raise InputError(f"--steps {unknown[0]} is unknown; expected some of {', '.join(names)}")
    steps = [step for step in STEPS if args.steps is None or step.name in args.steps]
    device = pick_device(args.device or ("cuda" if "cuda" in available_devices() else "cpu")).type
    if args.list:
        print("\n".join(str(step.command(device, args.folder, args.rehearse)) for step in steps))
        return
    failures = [outcome for outcome in run_kit(steps, device, args.folder, args.rehearse) if outcome.failure]
    for outcome in failures:
        print(f"{outcome.job}: {outcome.failure} (log: {outcome.log})", file=sys.stderr)
    if failures:
        sys.exit(1)
    print(f"The tables are in {args.folder}")
