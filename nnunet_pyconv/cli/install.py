"""`nnunet_pyconv install`: a shared model into nnUNet_results."""

from __future__ import annotations

import argparse
from pathlib import Path


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's arguments."""
    parser.description = (
        "Check a package of nnunet_pyconv share (names, sizes, hashes, needed versions) and install its model into "
        "nnUNet_results. Nothing in it is executed, now or by nnU-Net later: the checkpoints are written anew from "
        "the package's safetensors, without the state of the optimiser, so they can be predicted with and "
        "fine-tuned (-pretrained_weights), but not trained on with --c. Packages of nnU-Net's own export are for "
        "nnUNetv2_install_pretrained_model_from_zip."
    )
    parser.add_argument("file", type=Path, metavar="FILE", help="the zip file")
    parser.add_argument("--overwrite", action="store_true", help="replace a model of that name, with all its folds")


def run(args: argparse.Namespace) -> None:
    """Install the model and say how to predict with it."""
    from nnunet_pyconv.sharing import install_model  # imported here: -h should be quick

    installed = install_model(args.file, overwrite=args.overwrite)
    print(f"Installed {installed.folder}; MODEL_CARD.md there tells what it is")
    print("The hashes show that nothing was damaged, not who made it. Its checkpoints were written anew, free of code.")
    print(f"Next: {installed.predict_command}")
