"""Where the trainer of a model comes from, and a shim that names it."""

from __future__ import annotations

from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer

from nnunet_pyconv import nnunet_folders
from nnunet_pyconv.errors import InputError


def find_trainer(name: str) -> type[nnUNetTrainer]:
    """Find the trainer of a shared model, which whoever installs it has as well.

    Raises:
        InputError: A trainer that is neither nnU-Net's nor this plugin's.
    """
    refusal = (
        f"the model was trained with {name}, which is neither in nnU-Net nor in nnunet-pyconv; those who install the "
        "package could not find it. Share it by nnUNetv2_export_model_to_zip, together with its code"
    )
    try:
        trainer = nnunet_folders.find_trainer(name)
    except InputError as error:
        raise InputError(refusal) from error
    if not trainer.__module__.startswith(("nnunetv2.", "nnunet_pyconv.")):
        raise InputError(refusal)
    return trainer


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
