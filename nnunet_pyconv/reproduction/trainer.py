"""The trainer of a request, as nnU-Net's commands will find it."""

from __future__ import annotations

import contextlib
import io
import os

from nnunetv2.paths import nnUNet_extTrainer
from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer
from nnunetv2.utilities.find_objects import recursive_find_trainer_class_by_name

from nnunet_pyconv.errors import InputError
from nnunet_pyconv.nnunet_commands import variables_for_commands


def find_trainer(name: str) -> type[nnUNetTrainer]:
    """Find a trainer of nnU-Net, of this plugin, or in a folder of `nnUNet_extTrainer`.

    Raises:
        InputError: There is none of that name, or what lies in those folders can't be imported.
    """
    before = dict(os.environ)
    os.environ.update(variables_for_commands())
    try:
        with contextlib.redirect_stdout(io.StringIO()):  # the finder narrates its search
            trainer: type[nnUNetTrainer] = recursive_find_trainer_class_by_name(name)
    except Exception as error:  # the finder imports whatever lies in the folders
        raise InputError(
            f"-tr {name}: nnU-Net finds no such trainer, neither among its own nor in {nnUNet_extTrainer.get()}, or "
            f"can't import what lies there ({type(error).__name__}: {str(error).partition('. ')[0]}); expected one "
            "such as nnUNetTrainerPyConvPaper_5epochs, or put the folder of yours into nnUNet_extTrainer"
        ) from error
    finally:
        os.environ.clear()
        os.environ.update(before)
    return trainer
