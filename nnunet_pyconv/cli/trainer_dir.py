"""`nnunet_pyconv trainer_dir`: the folder for nnUNet_extTrainer."""

from __future__ import annotations

import argparse
from collections.abc import Sequence

from nnunet_pyconv.trainer_dir import TRAINER_DIR


def main(argv: Sequence[str], prog: str) -> None:
    """Print the folder in which nnU-Net finds our trainers."""
    argparse.ArgumentParser(
        prog=prog,
        description="Print the folder in which nnU-Net finds our trainers.",
        epilog='Use it so: export nnUNet_extTrainer="$(nnunet_pyconv trainer_dir)"',
    ).parse_args(argv)
    print(TRAINER_DIR)
