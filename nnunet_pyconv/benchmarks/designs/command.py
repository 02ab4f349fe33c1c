"""`nnunet_pyconv benchmark designs`: train the designs and append a row a run."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from nnunet_pyconv.benchmarks.designs.data import SUBJECTS, prepare
from nnunet_pyconv.benchmarks.designs.design import Design
from nnunet_pyconv.benchmarks.designs.runs import Run, done_runs, execute
from nnunet_pyconv.device import DEVICES, pick_device


def main(argv: Sequence[str], prog: str) -> None:
    """Run what is not done yet."""
    parser = argparse.ArgumentParser(
        prog=prog,
        description=(
            "Train network designs through nnU-Net's own trainer and plans on the paper's data sets (clean protocol) "
            "and score them on the unseen test cases. A design is a block, a width and a number of stages, for example "
            "stock, stock-w0.5, dilated-w0.5 or plain-s5. A run that has a row in the file is not done again, and one "
            "that was ended goes on from its checkpoint. nnU-Net's folders have to be set."
        ),
    )
    add = parser.add_argument
    add("-i", dest="source", type=Path, required=True, metavar="DATA", help="folder with isbi2012, kaggle_lung, liver")
    add("-o", dest="folder", type=Path, required=True, metavar="DIR", help="checkpoints and predictions")
    add("--rows", type=Path, required=True, metavar="CSV", help="the file that the rows are appended to")
    add("--datasets", nargs="+", choices=SUBJECTS, default=list(SUBJECTS), help="default: all")
    add("--designs", nargs="+", required=True, metavar="DESIGN", help="for example stock dilated-w0.5")
    add("--iterations", type=int, nargs="+", default=[300], metavar="N", help="training steps (default: 300)")
    add("--seeds", type=int, nargs="+", default=[1, 2, 3], metavar="N", help="default: 1 2 3")
    add("-device", choices=DEVICES, help="where to train (default: the fastest there is)")
    args = parser.parse_args(argv)
    device = pick_device(args.device)
    designs = [Design.parse(name) for name in args.designs]
    runs = [
        Run(dataset, design, iterations, seed)
        for iterations in args.iterations
        for seed in args.seeds
        for design in designs
        for dataset in args.datasets
    ]
    for run in runs:
        if run in done_runs(args.rows):
            continue
        print(run, flush=True)
        execute(run, prepare(SUBJECTS[run.dataset], args.source), args.folder, args.rows, device)
