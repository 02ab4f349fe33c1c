"""Names in a package that somebody else made: they become paths here, and parts of commands that a user pastes."""

from __future__ import annotations

import re

from nnunet_pyconv.errors import InputError
from nnunet_pyconv.nnunet_folders import Setup


def is_plain(name: str) -> bool:
    """Whether a name is one file's or folder's, and shows as what it is.

    Not so are control characters and bidirectional marks, which make a terminal show something else; a leading dash,
    which a command takes for a flag; a leading dot, which hides a file; and separators of paths, on any system.
    """
    return bool(name) and name.isprintable() and name[0] not in "-. " and not re.search(r"[\\/:]", name)


def is_fold(name: str) -> bool:
    """Whether a name is one of nnU-Net's folds."""
    return re.fullmatch(r"all|0|[1-9][0-9]{0,5}", name, re.ASCII) is not None


def is_checkpoint(name: str) -> bool:
    """Whether a name is a checkpoint's, as `checkpoint_final.pth`."""
    return re.fullmatch(r"\w[\w.+-]*\.pth", name, re.ASCII) is not None


def parse_model(name: str) -> tuple[str, Setup]:
    """Read `DATASET/TRAINER__PLANS__CONFIGURATION`, a model's folder below `nnUNet_results`.

    Returns:
        The dataset's full name, which may hold whatever nnU-Net allows in it, and what the folder is named after.

    Raises:
        InputError: No such name, or one that is not plain.
    """
    dataset, _, folder = name.partition("/")
    setup = Setup.parse(folder)
    parts = (dataset, setup.trainer, setup.plans, setup.configuration) if setup else ()
    if setup is None or not re.match(r"Dataset[0-9]{3,}_.", dataset) or not all(map(is_plain, parts)):
        raise InputError(
            f"{name!r} is no model's folder; expected DatasetNNN_NAME/TRAINER__PLANS__CONFIGURATION, as nnU-Net names "
            "it in nnUNet_results, without control characters or leading dashes"
        )
    return dataset, setup
