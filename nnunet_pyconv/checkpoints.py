"""Loading a checkpoint: the one place that does it, so that no stranger's file runs code."""

from __future__ import annotations

import pickle
import re
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch

from nnunet_pyconv.errors import InputError

TRUST_VARIABLE = "NNUNET_PYCONV_TRUST"
"""The environment variable that stands for `--trust` where nnU-Net's own commands load a checkpoint."""


class UnreadableCheckpointError(InputError):
    """A file that is not there, can't be read, or is damaged."""


class UntrustedCheckpointError(InputError):
    """A whole file that holds more than a checkpoint of nnU-Net does, and would run code when it is loaded."""


def load_checkpoint(file: Path, *, trust: bool = False, weights: bool = True) -> dict[str, Any]:
    """Load a checkpoint that nnU-Net or torch wrote.

    `torch.load` unpickles, and a pickle may call any function. So only what nnU-Net's checkpoints hold is accepted:
    tensors, Python's plain types and numpy's numbers. Each member's checksum, which `torch.save` writes into the file
    and `torch.load` passes over, is compared first: one flipped bit gives other weights without a word.

    Args:
        file: For example `fold_0/checkpoint_final.pth`.
        trust: Accept everything, and so run the code that the file may hold.
        weights: Whether tensors are wanted. Without them they stay on the disk (as memory maps), which is much faster
            where only the rest is asked for; damage in them then goes unseen.

    Raises:
        UnreadableCheckpointError: No such file, one that can't be read, or a damaged one.
        UntrustedCheckpointError: It holds something else, and `trust` was not given.
        InputError: It is no dictionary.
    """
    check_whole(file, weights=weights)
    try:
        content = torch.load(file, map_location="cpu", weights_only=not trust, mmap=not weights)
    except pickle.UnpicklingError as error:
        if trust:
            raise _damaged(file, error) from error
        raise UntrustedCheckpointError(
            f"{file} holds more than the tensors, numbers and texts of nnU-Net's checkpoints ({_reason(error)}), and "
            "would run code when it is loaded. If you know and trust who wrote it, allow that: with --trust in this "
            f"plugin's commands, with {TRUST_VARIABLE}=1 in the environment of nnUNetv2_train"
        ) from error
    except Exception as error:  # whatever damage to what has no checksum makes torch raise, or code that was trusted
        raise _damaged(file, error) from error
    if not isinstance(content, dict):
        raise InputError(
            f"{file} is no checkpoint of nnU-Net's trainers: it holds a {type(content).__name__}; give one that "
            "nnUNetv2_train wrote"
        )
    return content


def checkpoint_damage(file: Path) -> str:
    """Say what `check_whole` finds wrong with a checkpoint; empty if nothing."""
    try:
        check_whole(file)
    except UnreadableCheckpointError as error:
        return str(error)
    return ""


def check_whole(file: Path, *, weights: bool = True) -> None:
    """Compare the checksums that `torch.save` put into a checkpoint; nothing in it is executed.

    Args:
        file: The checkpoint.
        weights: Whether to read all of it; else only what describes the tensors.

    Raises:
        UnreadableCheckpointError: No such file, one that can't be read, or a damaged one.
    """
    if not file.is_file():  # neither a folder nor a pipe, which would never end
        raise UnreadableCheckpointError(f"{file} is {'no file' if file.exists() else 'not there'}")
    try:
        with zipfile.ZipFile(file) as archive:
            names = archive.namelist()
            if any(member.compress_type != zipfile.ZIP_STORED for member in archive.infolist()):
                raise zipfile.BadZipFile("a compressed member, which torch.save does not write")
            if len(set(names)) != len(names) or sum(name.endswith("/data.pkl") for name in names) != 1:
                raise zipfile.BadZipFile("other members than torch.save writes")
            for name in names if weights else [name for name in names if name.endswith("/data.pkl")]:
                with archive.open(name) as member:
                    while member.read(1 << 20):  # compares the checksum at the end
                        pass
    except PermissionError as error:
        raise UnreadableCheckpointError(f"can't read {file}: {error.strerror}") from error
    except Exception as error:  # whatever damage makes zipfile and the disk raise
        raise _damaged(file, error) from error


def _damaged(file: Path, error: Exception) -> UnreadableCheckpointError:
    return UnreadableCheckpointError(
        f"{file} is damaged or cut off ({error!r:.200}); restore it from a copy, or train again"
    )


def _reason(error: Exception) -> str:
    """What torch refused, out of a message of many lines."""
    found = re.search(r"GLOBAL (\S+)|global ([\w.]+)|Unsupported (operand \d+)", str(error))
    return next(filter(None, found.groups())) if found else f"{error!r:.100}"


def _numpy_scalar_of(module: str) -> Callable[..., Any]:
    """Return the function that a pickled number of numpy names: its module has another name in numpy 1 and in 2."""
    scalar: Any = np.float64(0).__reduce__()[0]

    def rebuild(*args: Any) -> Any:
        return scalar(*args)

    rebuild.__module__, rebuild.__name__, rebuild.__qualname__ = module, "scalar", "scalar"
    return rebuild


# numpy's numbers, in which nnU-Net logs losses and scores
torch.serialization.add_safe_globals(
    [
        np.dtype,
        *{type(np.dtype(name)) for name in ("bool", "int32", "int64", "float16", "float32", "float64")},
        *map(_numpy_scalar_of, ("numpy.core.multiarray", "numpy._core.multiarray")),
    ]
)
