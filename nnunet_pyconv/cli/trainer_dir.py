"""`nnunet_pyconv trainer_dir`: the folder for nnUNet_extTrainer."""

from __future__ import annotations

import argparse

from nnunet_pyconv.trainer_dir import TRAINER_DIR


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Describe the command, which takes no arguments."""
    parser.description = "Print the folder in which nnU-Net finds our trainers."
    parser.epilog = 'Use it so: export nnUNet_extTrainer="$(nnunet_pyconv trainer_dir)"'


def run(_args: argparse.Namespace) -> None:
    """Print the folder."""
    print(TRAINER_DIR)
