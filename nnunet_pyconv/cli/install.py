"""`nnunet_pyconv install`: a shared model into nnUNet_results."""

from __future__ import annotations

import argparse
from pathlib import Path


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's arguments."""
    parser.description = (
        "Check a package of nnunet_pyconv share (names, hashes, needed versions) and install its model into "
        "nnUNet_results. Packages of nnU-Net's own export are for nnUNetv2_install_pretrained_model_from_zip."
    )
    parser.add_argument("file", type=Path, metavar="FILE", help="the zip file")
    parser.add_argument("--overwrite", action="store_true", help="replace a model of that name, with all its folds")


def run(args: argparse.Namespace) -> None:
    """Install the model and say how to predict with it."""
    from nnunet_pyconv.sharing import install_model  # imported here: -h should be quick

    installed = install_model(args.file, overwrite=args.overwrite)
    print(f"Installed {installed.folder}; MODEL_CARD.md there tells what it is")
    print(
        "Warning: nnU-Net loads .pth checkpoints (and a postprocessing.pkl) by unpickling, which executes code that "
        "their author may have put there. The hashes show that nothing was damaged, not who made it: predict only if "
        "you trust the source."
    )
    print(f"Next: {installed.manifest.predict_command}")
