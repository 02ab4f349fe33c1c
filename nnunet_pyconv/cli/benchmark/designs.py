"""`nnunet_pyconv benchmark designs`."""

from __future__ import annotations

import argparse
from pathlib import Path

from nnunet_pyconv.cli.parser import positive
from nnunet_pyconv.errors import InputError
from nnunet_pyconv.names import DEVICES

OF_THE_PAPER = ("isbi_cell", "kaggle_lung", "liver")
DATASETS = (*OF_THE_PAPER, "hippocampus")
BASELINE = "stock-w0.5"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the subject's arguments."""
    parser.description = (
        "Train network designs through nnU-Net's own trainer and plans on the paper's data sets (clean protocol) and "
        "on hippocampi (MRI in 3D, Task04 of the Medical Segmentation Decathlon), score them on the unseen test cases, "
        "and append a row a run to a CSV file. A design is a block, a width and a number of stages: stock, stock-w0.5, "
        "dilated-w0.5, plain-s5. More of what `nnunet_pyconv plan` takes is written, in this order, as -m and the most "
        "features (before -s), -p and the number of stages with pyramids, -l and that of levels, -encoder or -decoder: "
        "stock-w0.7-m64, dilated-w0.5-p2, dilated-w0.5-l2-decoder. At the end, -resenc takes nnU-Net's network with a "
        "residual encoder for the default one: stock-w0.5-resenc; -residual, -grn (global response normalisation) or "
        "-interleaved (channels before the groups of plain) adds that to the default one. A run that has its row is "
        "not done again, one that was ended goes on from its checkpoint. Every design sees the same batches of a seed; "
        "one that goes on draws others from there on. "
        "Lung and liver are trained at half resolution and scored at full resolution. Without --designs, the rows are "
        "summarised. nnU-Net's three folders have to be set, and should be folders of their own."
    )
    add = parser.add_argument
    add("--rows", type=Path, required=True, metavar="CSV", help="the file that the rows are appended to")
    add("-i", dest="source", type=Path, metavar="DATA", help="folder with isbi2012, kaggle_lung, liver, hippocampus")
    add("-o", dest="folder", type=Path, metavar="DIR", help="for checkpoints and predictions, or for the summary")
    add("--designs", nargs="+", metavar="DESIGN", help="what to train, for example stock dilated-w0.5")
    add("--teacher", metavar="DESIGN", help="a design that is trained already: its outputs teach beside the labels")
    add("--boundary", action="store_true", help="with the loss of boundaries, see nnUNetTrainerBoundary")
    add("--datasets", nargs="+", choices=DATASETS, default=list(OF_THE_PAPER), help="default: the paper's")
    add("--iterations", type=positive, nargs="+", default=[300], metavar="N", help="training steps (default: 300)")
    add("--seeds", type=positive, nargs="+", default=[1, 2, 3], metavar="N", help="default: 1 2 3")
    add("--baseline", metavar="DESIGN", help=f"of the summary (default: {BASELINE})")
    add("--costs", type=Path, metavar="JSON", help="what `benchmark runtimes -o` wrote, for the summary")
    add("--overwrite", action="store_true", help="replace an earlier summary in DIR")
    add("-device", choices=DEVICES, help="where to train (default: the fastest there is)")


def run(args: argparse.Namespace) -> None:
    """Train what is not done yet, or summarise what is."""
    from nnunet_pyconv.benchmarks.designs import data, runs, summary  # imports torch, which takes seconds
    from nnunet_pyconv.benchmarks.designs.costs import read_costs
    from nnunet_pyconv.benchmarks.designs.design import parse_design
    from nnunet_pyconv.benchmarks.designs.training import ITERATIONS_PER_EPOCH
    from nnunet_pyconv.device import pick_device

    if args.designs is None:
        costs = None if args.costs is None else read_costs(args.costs)
        rows = runs.read_rows(args.rows)
        baseline = parse_design(args.baseline or BASELINE).name
        trained = sorted({row["design"] for row in rows})
        if args.baseline is not None and baseline not in trained:
            raise InputError(f"--baseline {args.baseline}: no row is of it; expected one of {', '.join(trained)}")
        summarised = summary.summarise(rows, baseline, costs)
        print(summarised.to_markdown())
        if args.folder is not None:
            summarised.write(args.folder, overwrite=args.overwrite)
        return
    if args.source is None or args.folder is None:
        raise InputError("to train designs, give the folder of the data with -i and a folder for checkpoints with -o")
    if wrong := [number for number in args.iterations if number % ITERATIONS_PER_EPOCH]:
        raise InputError(f"--iterations {wrong[0]}: expected a multiple of {ITERATIONS_PER_EPOCH}, an epoch")
    device = pick_device(args.device)
    designs = [parse_design(name) for name in args.designs]
    teacher = None if args.teacher is None else parse_design(args.teacher)
    wanted = [
        runs.DesignRun(dataset, design, iterations, seed, teacher, args.boundary)
        for iterations in args.iterations
        for seed in args.seeds
        for design in designs
        for dataset in args.datasets
    ]
    for each in wanted:
        if each not in runs.done_runs(args.rows):
            print(each, flush=True)
            prepared = data.prepare(data.COMPARED_DATASETS[each.dataset], args.source)
            runs.execute(each, prepared, args.folder, args.rows, device)
