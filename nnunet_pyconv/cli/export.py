"""`nnunet_pyconv export`: a trained model as a file that predicts without torch."""

from __future__ import annotations

import argparse
import shlex
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, get_args

from nnunet_pyconv.cli.parser import add_model, add_trust
from nnunet_pyconv.errors import InputError
from nnunet_pyconv.runtime.description import Precision

if TYPE_CHECKING:
    from nnunet_pyconv.export import Exported


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
    add_model(parser, "export")
    add = parser.add_argument
    add("-o", dest="output", type=Path, metavar="FILE", help="the file to write, for example model.pyz")
    add(
        "--web", type=Path, metavar="DIR", help="write a static page, too, that segments within the browser (2D models)"
    )
    add(
        "--onnxruntime_web",
        type=Path,
        metavar="TGZ",
        help="what npm pack onnxruntime-web wrote, or its folder, for --web "
        "(default: what this package was built with, if it was)",
    )
    add(
        "--precision",
        choices=get_args(Precision),
        default="fp32",
        help="fp16 halves the file and is as fast; int8 is smaller and faster on recent CPUs, and is refused where it "
        "costs accuracy (default: %(default)s)",
    )
    add("--force", action="store_true", help="write int8 even where it loses more than 0.006 of the Dice")
    add("--overwrite", action="store_true", help="replace FILE and DIR")
    add_trust(parser, "load")


def run(args: argparse.Namespace) -> None:
    """Write the file, or the page, and say what to do with it."""
    if args.output is None and args.web is None:
        raise InputError(
            "there is nothing to write; name a file with -o, for example -o model.pyz, or a folder with --web"
        )
    if args.web is not None:
        from nnunet_pyconv.export.web import check_page

        check_page(args.web, args.onnxruntime_web, overwrite=args.overwrite)
    with tempfile.TemporaryDirectory() as scratch:
        output = args.output or Path(scratch) / "model.pyz"
        exported = _export(args, output)
        if args.web is not None:
            from nnunet_pyconv.export.web import write_page
            from nnunet_pyconv.runtime.model_file import ModelFile

            write_page(ModelFile.open(output), args.web, args.onnxruntime_web, overwrite=args.overwrite)
    if args.output is not None:
        previous = ["-prev_stage_predictions", "PREVIOUS"] if exported.description.previous_stage else []
        print(f"Next: {shlex.join(['python', str(args.output), '-i', 'IMAGES', '-o', 'PREDICTIONS', *previous])}")
    if args.web is not None:
        serve = shlex.join(["python", "-m", "http.server", "-d", str(args.web)])
        print(f"Wrote {args.web}; next: {serve}, then open http://localhost:8000")


def _export(args: argparse.Namespace, output: Path) -> Exported:
    from nnunet_pyconv.extras import ONNX_MODULES, require_extra

    require_extra("onnx", *ONNX_MODULES)
    from nnunet_pyconv.export import export_model  # imported here: -h should be quick, and the extra is needed

    exported = export_model(
        args.folder,
        output,
        folds=args.folds,
        checkpoint=args.checkpoint,
        precision=args.precision,
        force=args.force,
        for_page=args.web is not None,
        overwrite=args.overwrite,
        trust=args.trust,
    )
    description = exported.description
    folds = " ".join(network.fold for network in description.networks)
    print(
        f"Wrote {exported.file.name}: {description.name}, folds {folds}, {description.precision}, "
        f"{exported.file.stat().st_size / 1e6:.1f} MB; logits differ from torch's by {exported.difference:.1e} at most"
    )
    for fold, result in exported.quantized.items():
        print(
            f"Fold {fold}: Dice {result.dice_float:.4f} in float32, {result.dice:.4f} in 8 bit, with "
            f"{result.in_float} of {result.convolutions} convolutions in float32"
        )
    if exported.is_slow:
        print(
            "ONNX Runtime has no fast kernel for its pyramidal convolutions, which take several times as long as stock "
            "ones. For deployment train with nnUNetTrainerPyConvDilated or nnUNetTrainerPyConvSeparable."
        )
    return exported
