"""`nnunet_pyconv plan`: write plans whose network has pyramidal convolutions, or is narrower or shallower."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from typing import TYPE_CHECKING

from nnunet_pyconv.errors import InputError
from nnunet_pyconv.names import DEFAULT_OUTPUT, DEFAULT_SOURCE, PAPER_PLANS, PARTS, PLANNED_BLOCKS, PLANNER_NAMES

if TYPE_CHECKING:
    from nnunet_pyconv.planning import Choice, ChosenConfiguration, Design, PlannedConfiguration, Stage

DEFAULT_PREPROCESSOR = "DefaultPreprocessor"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's arguments."""
    parser.description = (
        "Write plans whose network is PyConvUNet or PyConvResidualEncoderUNet, or a narrower or shallower one. They "
        f"train with any trainer: nnUNetv2_train ID 2d 0 -p {DEFAULT_OUTPUT}. With -p, the new plans differ from "
        "existing ones in the network alone. With -pl, patch and batch are planned anew, for the memory that training "
        "the network takes."
    )
    parser.add_argument("-d", dest="dataset", required=True, metavar="ID", help="dataset ID or name")
    source = parser.add_mutually_exclusive_group()
    source.add_argument(
        "-p",
        dest="source_plans",
        default=DEFAULT_SOURCE,
        metavar="PLANS",
        help="plans to start from; preprocessed data are shared (default: %(default)s)",
    )
    source.add_argument(
        "-pl", dest="planner", metavar="PLANNER", help=f"planner to plan anew with: {', '.join(PLANNER_NAMES)}"
    )
    parser.add_argument(
        "-o",
        dest="output_plans",
        metavar="PLANS",
        help=f"plans to write (default: {DEFAULT_OUTPUT}, PLANNERPlans with -pl, {PAPER_PLANS} with --paper; the "
        "options of the network are named, too, as in nnUNetPyConvDilatedWidth0.5Plans)",
    )
    parser.add_argument(
        "--paper",
        action="store_true",
        help=f"write {PAPER_PLANS} instead: the six networks of the paper's comparison and MultiResUNet, which it "
        "describes but does not measure; whole images, batch 5",
    )
    parser.add_argument(
        "-block",
        choices=PLANNED_BLOCKS,
        default="plain",
        help="what takes the place of a convolution: plain, kernels 3 5 7 9 in groups; bottleneck, 1 x 1, these on a "
        "quarter of the channels, 1 x 1; dilated, dense kernels of 3 with dilations 1 2 3 4; separable, kernels 3 5 7 "
        "9 channel by channel, then 1 x 1; stock, the convolution itself, for -width, -max_features and -stages alone "
        "(default: %(default)s)",
    )
    parser.add_argument(
        "-width",
        type=float,
        default=1.0,
        metavar="FACTOR",
        help="features of each stage as a multiple of those of the plans, in multiples of 4: 0.5 for half as wide",
    )
    parser.add_argument(
        "-max_features",
        type=int,
        metavar="N",
        help="the most features of a stage, after -width: the deep stages hold most parameters (default: no limit)",
    )
    parser.add_argument(
        "-stages",
        type=int,
        metavar="N",
        help="stages of the network, from full resolution down; the deeper ones are left out (default: all)",
    )
    parser.add_argument(
        "-pyramid_stages",
        type=int,
        metavar="N",
        help="stages with the block, from full resolution down; deeper ones keep their convolutions (default: all)",
    )
    parser.add_argument(
        "-levels",
        type=int,
        metavar="N",
        help="the most levels of a pyramid, from the smallest reach up: 2 for 3 5 of 3 5 7 9 (default: all)",
    )
    parser.add_argument(
        "-part",
        choices=PARTS,
        default="network",
        help="where the block takes the place of convolutions (default: %(default)s)",
    )
    parser.add_argument("--overwrite", action="store_true", help="replace plans of that name")
    planner = parser.add_argument_group("with -pl only")
    planner.add_argument(
        "-gpu_memory_target",
        type=float,
        metavar="GB",
        help="memory that training may allocate; CUDA itself takes up to 1 GB more (default: 8, 24 for L, 40 for XL)",
    )
    planner.add_argument(
        "-overwrite_target_spacing",
        type=float,
        nargs=3,
        metavar="MM",
        help="spacing of the 3D data, as nnU-Net's option",
    )
    planner.add_argument(
        "-preprocessor_name", default=DEFAULT_PREPROCESSOR, metavar="NAME", help="as nnU-Net's option (%(default)s)"
    )


def run(args: argparse.Namespace) -> None:
    """Write the plans and print what changed in each configuration."""
    from nnunet_pyconv.planning import Design, plan_paper, plan_pyconv  # imports torch, which takes seconds

    for option, default in (
        ("gpu_memory_target", None),
        ("overwrite_target_spacing", None),
        ("preprocessor_name", DEFAULT_PREPROCESSOR),
    ):
        if args.planner is None and getattr(args, option) != default:
            raise InputError(
                f"-{option} is for planning anew; name a planner with -pl, for example nnUNetPlannerPyConv"
            )
    design = Design(args.block, args.width, args.max_features, args.stages, args.pyramid_stages, args.levels, args.part)
    if args.paper:
        if args.planner is not None or design != Design():
            raise InputError(
                "--paper writes the paper's networks into existing plans; give neither -pl nor options of the "
                "network with it"
            )
        file, names = plan_paper(
            args.dataset, args.source_plans, args.output_plans or PAPER_PLANS, overwrite=args.overwrite
        )
        print(f"{', '.join(names)}\nWrote {file}")
        print(f"Next: nnUNetv2_train {args.dataset} {names[0]} 0 -tr nnUNetTrainerPyConvPaper -p {file.stem}")
        return
    if args.planner is not None:
        _plan_anew(args, design)
        return
    file, planned = plan_pyconv(
        args.dataset, args.source_plans, args.output_plans, design=design, overwrite=args.overwrite
    )
    for configuration in planned:
        ratio = configuration.parameters_after / configuration.parameters_before
        print(
            f"{configuration.name}: {_network(configuration)}, {configuration.parameters_after:,} parameters "
            f"({ratio:.2f} x the {configuration.parameters_before:,} of {args.source_plans})"
        )
        _print_stages(configuration.stages)
    print(f"Wrote {file}")
    if planned:
        print(f"Next: nnUNetv2_train {args.dataset} {planned[0].name} 0 -p {file.stem}")


def _plan_anew(args: argparse.Namespace, design: Design) -> None:
    from nnunet_pyconv.nnunet_folders import dataset_id
    from nnunet_pyconv.planning import plan_dataset
    from nnunet_pyconv.planning.planners import PLANNERS

    file, target_gb, planned = plan_dataset(
        args.dataset,
        args.planner,
        args.output_plans,
        design=design,
        gpu_memory_gb=args.gpu_memory_target,
        overwrite_target_spacing=args.overwrite_target_spacing,
        preprocessor_name=args.preprocessor_name,
        overwrite=args.overwrite,
    )
    for configuration in planned:
        print(f"{configuration.name}: {_network(configuration)}, {_describe(configuration.chosen)} of {target_gb:g} GB")
        patch = (
            "holds an image of the median size"
            if configuration.whole_image
            else "is the largest of nnU-Net's search that fits"
        )
        batch = "the dataset is too small for more" if configuration.next_batch_fits else "one more does not fit"
        print(f"  the patch {patch}; of patches in a batch, {batch}")
        if configuration.counterpart is not None:
            counterpart = PLANNERS[args.planner].counterpart
            print(f"  {counterpart}: {_describe(configuration.counterpart)} by the same estimate")
        _print_stages(configuration.stages)
    print(f"Wrote {file}")
    if missing := [configuration.name for configuration in planned if not configuration.is_preprocessed]:
        # nnUNetv2_preprocess takes no name
        number = dataset_id(file.parent.name)
        print(f"Next: nnUNetv2_preprocess -d {number} -plans_name {file.stem} -c {' '.join(missing)}")
    print(f"{'Then' if missing else 'Next'}: nnUNetv2_train {args.dataset} {planned[0].name} 0 -p {file.stem}")


def _network(configuration: PlannedConfiguration | ChosenConfiguration) -> str:
    return configuration.network_class_name.rpartition(".")[2]


def _print_stages(stages: Sequence[Stage]) -> None:
    for number, stage in enumerate(stages):
        print(f"  stage {number}: {stage.features} features{_levels(stage)}")


def _levels(stage: Stage) -> str:
    if stage.pyramid is None:
        return ""
    text = f", kernels {', '.join(map(str, stage.pyramid.kernel_sizes))}"
    if stage.pyramid.dilations is not None:
        text += f", dilations {', '.join(map(str, stage.pyramid.dilations))}"
    return text


def _describe(choice: Choice) -> str:
    patch = " x ".join(map(str, choice.patch_size))
    return f"patch {patch}, batch {choice.batch_size}: {choice.memory_gb:.3g} GB"
