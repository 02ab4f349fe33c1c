"""Where the trainer of a model comes from, and a shim that names it."""

from __future__ import annotations

from pathlib import Path

import nnunetv2
from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer
from nnunetv2.utilities.find_class_by_name import recursive_find_python_class

from nnunet_pyconv import trainers
from nnunet_pyconv.errors import InputError
from nnunet_pyconv.trainers import variants

SHIM = "trainer/shared_trainer.py"


def find_trainer(name: str) -> type[nnUNetTrainer]:
    """Find a trainer of nnU-Net or of this plugin; `nnUNet_extTrainer` is not needed.

    Raises:
        InputError: A trainer from elsewhere.
    """
    stock = Path(nnunetv2.__path__[0]) / "training" / "nnUNetTrainer"
    found = recursive_find_python_class(str(stock), name, "nnunetv2.training.nnUNetTrainer")
    for module in (trainers, variants):
        found = found or getattr(module, name, None)
    if not (isinstance(found, type) and issubclass(found, nnUNetTrainer)):
        raise InputError(
            f"the model was trained with {name}, which is neither in nnU-Net nor in nnunet-pyconv; those who install "
            "the package could not find it. Share it by nnUNetv2_export_model_to_zip, together with its code"
        )
    return found


def shim_source(trainer: type[nnUNetTrainer]) -> str:
    """A module that names the class, for a folder in `nnUNet_extTrainer`.

    With `nnUNetv2_install_pretrained_model_from_zip`, which knows nothing of this plugin, it tells nnU-Net's finder,
    and a reader of its error message, which package has the trainer.
    """
    return (
        f'"""The trainer of this model; needs: pip install nnunet-pyconv."""\n\n'
        f"from {trainer.__module__} import {trainer.__name__}\n\n"
        f'__all__ = ["{trainer.__name__}"]\n'
    )
