"""`nnunet_pyconv complexity`: parameters, operations, latency and memory of the networks."""

from __future__ import annotations

import argparse
from pathlib import Path

from nnunet_pyconv.errors import InputError
from nnunet_pyconv.names import DEVICES, PAPER_PLANS


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's arguments."""
    parser.description = (
        "The paper's Table 3, ours beside the paper's: parameters and multiply-accumulates; and what it leaves "
        "out, MultiResUNet, latency and peak memory on this machine. Without -d for the paper's input of "
        "3 x 512 x 512 and one class, with -d for the configurations of a dataset's plans, at their patch size. A "
        "few minutes on a CPU."
    )
    parser.add_argument("-d", dest="dataset", metavar="ID", help="dataset ID or name")
    parser.add_argument(
        "-p", dest="plans", metavar="PLANS", help="its plans (default: PyConvUNetPaperPlans, see nnunet_pyconv plan)"
    )
    parser.add_argument(
        "-o", dest="output", type=Path, metavar="DIR", help="also write complexity.md, .csv and .json there"
    )
    parser.add_argument("-device", choices=DEVICES, help="where to measure (default: the fastest there is)")
    parser.add_argument("--overwrite", action="store_true", help="replace files in DIR")


def run(args: argparse.Namespace) -> None:
    """Measure the networks and print the table."""
    if args.plans is not None and args.dataset is None:
        raise InputError(f"-p {args.plans} needs the dataset that has these plans: give it with -d")

    # torch takes seconds to import, so not for -h
    from nnunet_pyconv.benchmarks.complexity import measure
    from nnunet_pyconv.benchmarks.complexity_subjects import paper_subjects, plans_subjects
    from nnunet_pyconv.benchmarks.complexity_table import prepare_output, to_markdown, write_tables
    from nnunet_pyconv.benchmarks.report import machine
    from nnunet_pyconv.device import pick_device

    device = pick_device(args.device)
    subjects = paper_subjects() if args.dataset is None else plans_subjects(args.dataset, args.plans or PAPER_PLANS)
    if args.output is not None:
        prepare_output(args.output, overwrite=args.overwrite)
    complexities = measure(subjects, device)
    measured_on = machine(device)
    print(to_markdown(complexities))
    keys = [key for key in ("device", "gpu", "processor", "threads", "torch") if key in measured_on]
    print("Measured on " + ", ".join(f"{key} {measured_on[key]}" for key in keys))
    if args.output is not None:
        for file in write_tables(complexities, measured_on, args.output, overwrite=args.overwrite):
            print(f"Wrote {file}")
