"""`nnunet_pyconv plan`: write plans whose network has pyramidal convolutions."""

from __future__ import annotations

import argparse
from collections.abc import Sequence

from nnunet_pyconv.planning import DEFAULT_OUTPUT, DEFAULT_SOURCE, PAPER_PLANS, plan_paper, plan_pyconv


def main(argv: Sequence[str], prog: str) -> None:
    """Write the plans and say what became of each configuration."""
    parser = argparse.ArgumentParser(
        prog=prog,
        description=(
            "Write plans whose network is PyConvUNet or PyConvResidualEncoderUNet. They share the source plans' "
            "preprocessed data and train with any trainer: nnUNetv2_train ID 2d 0 -p " + DEFAULT_OUTPUT
        ),
    )
    parser.add_argument("-d", dest="dataset", required=True, metavar="ID", help="dataset ID or name")
    parser.add_argument(
        "-p",
        dest="source_plans",
        default=DEFAULT_SOURCE,
        metavar="PLANS",
        help="plans to start from (default: %(default)s)",
    )
    parser.add_argument(
        "-o", dest="output_plans", default=DEFAULT_OUTPUT, metavar="PLANS", help="plans to write (default: %(default)s)"
    )
    parser.add_argument(
        "--paper",
        action="store_true",
        help=f"write {PAPER_PLANS} instead: the six networks of the paper's comparison, whole images, batch 5",
    )
    parser.add_argument("--overwrite", action="store_true", help="replace plans of that name")
    args = parser.parse_args(argv)

    if args.paper:
        if args.output_plans != DEFAULT_OUTPUT:
            parser.error(f"-o {args.output_plans}: --paper writes {PAPER_PLANS} and no other name")
        file, names = plan_paper(args.dataset, args.source_plans, overwrite=args.overwrite)
        print(f"{', '.join(names)}\nWrote {file}")
        print(f"Next: nnUNetv2_train {args.dataset} {names[0]} 0 -tr nnUNetTrainerPyConvPaper -p {PAPER_PLANS}")
        return

    file, planned = plan_pyconv(args.dataset, args.source_plans, args.output_plans, overwrite=args.overwrite)
    for configuration in planned:
        network = configuration.network_class_name.rpartition(".")[2]
        ratio = configuration.parameters_after / configuration.parameters_before
        print(
            f"{configuration.name}: {network}, {configuration.parameters_after:,} parameters "
            f"({ratio:.2f} x the {configuration.parameters_before:,} of {args.source_plans})"
        )
        for stage, kernels in enumerate(configuration.kernel_sizes_per_stage):
            print(f"  stage {stage}: kernels {', '.join(map(str, kernels))}")
    print(f"Wrote {file}")
    if planned:
        print(f"Next: nnUNetv2_train {args.dataset} {planned[0].name} 0 -p {args.output_plans}")
