"""`nnunet_pyconv export`: a trained model as a file that predicts without torch."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import get_args

from nnunet_pyconv.runtime.description import Precision


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's arguments."""
    parser.description = (
        "Write a trained model of nnU-Net, with any trainer, as one file that predicts by itself, without torch and "
        "without nnU-Net: network as ONNX, preprocessing, sliding window, mirroring, folds and output as nnU-Net's. "
        "Checked against torch before it is written."
    )
    parser.epilog = (
        "example: nnunet_pyconv export $nnUNet_results/Dataset312_ISBICell/nnUNetTrainer__nnUNetPlans__2d "
        "-o model.pyz; then, where numpy, scipy, onnxruntime and a reader of images are installed: "
        "python model.pyz -i IMAGES -o OUT"
    )
    add = parser.add_argument
    add("folder", type=Path, metavar="MODEL_FOLDER", help="nnUNet_results/DATASET/TRAINER__PLANS__CONFIGURATION")
    add("-o", dest="output", type=Path, required=True, metavar="FILE", help="the file to write, for example model.pyz")
    add("-f", dest="folds", nargs="+", metavar="FOLD", help="folds: 0 to 4, or all (default: those with a checkpoint)")
    add(
        "-chk",
        dest="checkpoint",
        default="checkpoint_final.pth",
        metavar="NAME",
        help="checkpoint to export (default: %(default)s)",
    )
    add(
        "--precision",
        choices=get_args(Precision),
        default="fp32",
        help="fp16 halves the file and is as fast; int8 is smaller and faster on recent CPUs, and is refused where it "
        "costs accuracy (default: %(default)s)",
    )
    add("--overwrite", action="store_true", help="replace FILE")


def run(args: argparse.Namespace) -> None:
    """Write the file and say what to do with it."""
    from nnunet_pyconv.export import export_model  # imported here: -h should be quick

    exported = export_model(
        args.folder,
        args.output,
        folds=args.folds,
        checkpoint=args.checkpoint,
        precision=args.precision,
        overwrite=args.overwrite,
    )
    description = exported.description
    folds = " ".join(network.fold for network in description.networks)
    print(
        f"Wrote {exported.file}: {description.name}, folds {folds}, {description.precision}, "
        f"{exported.file.stat().st_size / 1e6:.1f} MB; logits differ from torch's by {exported.difference:.1e} at most"
    )
    if exported.has_pyconv:
        print(
            "Its pyramidal convolutions take 3 to 7 times as long as stock ones in ONNX Runtime, which has no fast "
            "kernel for them. For deployment train a dilated or separable block, or half the width."
        )
    print(f"Next: python {exported.file} -i IMAGES -o PREDICTIONS")
