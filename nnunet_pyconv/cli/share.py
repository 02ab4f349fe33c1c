"""`nnunet_pyconv share`: a trained model as one file."""

from __future__ import annotations

import argparse
import shlex
from pathlib import Path

from nnunet_pyconv.cli.parser import add_model, add_trust


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's arguments."""
    parser.description = (
        "Write a trained model to a zip file: what nnUNetv2_export_model_to_zip takes, the weights as safetensors "
        "too, the SHA-256 of every member, versions, and a model card. Licence and intended use in the card are "
        "for you to fill in: put the finished MODEL_CARD.md into MODEL_FOLDER and share again; a card there is "
        "taken as it is."
    )
    parser.epilog = (
        "example: nnunet_pyconv share $nnUNet_results/Dataset312_ISBICell/nnUNetTrainerPyConv__nnUNetPlans__2d "
        "-o model.zip"
    )
    add_model(parser, "share")
    add = parser.add_argument
    add("-o", dest="output", type=Path, required=True, metavar="FILE", help="the zip file to write")
    add("--report", type=Path, metavar="DIR", help="folder of nnunet_pyconv report, whose tables enter the card")
    add("--overwrite", action="store_true", help="replace FILE")
    add_trust(parser, "load")


def run(args: argparse.Namespace) -> None:
    """Write the package and say what to do with it."""
    from nnunet_pyconv.sharing import share_model  # imported here: -h should be quick

    shared = share_model(
        args.folder,
        args.output,
        folds=args.folds,
        checkpoint=args.checkpoint,
        report=args.report,
        overwrite=args.overwrite,
        trust=args.trust,
    )
    print(f"Wrote {shared.file}: {shared.manifest.model}, folds {' '.join(shared.manifest.folds)}")
    print("As in nnU-Net's export, debug.json and validation/summary.json name folders of this machine.")
    if shared.has_own_card:
        print(f"Its card is {args.folder / 'MODEL_CARD.md'} as it stands; where the model has changed since, remove it")
    else:
        command = ["unzip", "-j", str(shared.file), "*/MODEL_CARD.md", "-d", str(args.folder)]
        print(f"Next: {shlex.join(command)}")
        print("      and fill in licence and intended use there, then share again with --overwrite")
    print("Whoever gets it: nnunet_pyconv install FILE")
