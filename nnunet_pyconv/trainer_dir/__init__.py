"""The folder for `nnUNet_extTrainer`.

nnU-Net imports every module it meets there while it looks for a trainer, and forgets those modules afterwards. So
this folder holds modules that only name classes which live in the installed package.
"""

from pathlib import Path

TRAINER_DIR = Path(__file__).parent
