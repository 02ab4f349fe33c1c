"""Which files a package holds: those that nnU-Net's export takes (model_sharing/model_export.py), and ours."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import PurePosixPath

from nnunetv2.utilities.file_path_utilities import folds_tuple_to_string

PLANS = "plans.json"
DATASET = "dataset.json"
MODEL_CARD = "MODEL_CARD.md"
SHIM = "trainer/shared_trainer.py"
POSTPROCESSING = "postprocessing.json"
PICKLED_POSTPROCESSING = "postprocessing.pkl"

_OF_MODEL = (PLANS, DATASET, "dataset_fingerprint.json")
_OF_FOLD = ("debug.json", "progress.png", "network_architecture.pdf", "validation/summary.json")
_OF_CROSS_VALIDATION = ("summary.json", PICKLED_POSTPROCESSING, POSTPROCESSING)


def cross_validation_folder(folds: Sequence[str]) -> str:
    """nnU-Net's folder for what concerns several folds."""
    return f"crossval_results_folds_{folds_tuple_to_string(tuple(folds))}"


def checkpoint_of(fold: str, checkpoint: str) -> str:
    """The checkpoint of a fold."""
    return f"fold_{fold}/{checkpoint}"


def safetensors_of(fold: str, checkpoint: str) -> str:
    """The file that holds what a fold's checkpoint does, in a format that runs no code."""
    return f"fold_{fold}/{PurePosixPath(checkpoint).stem}.safetensors"


def exported_members(folds: Sequence[str], checkpoint: str) -> list[str]:
    """What nnU-Net's own export takes, as far as a model has it, by path in the model's folder."""
    return [
        *_OF_MODEL,
        *(f"{cross_validation_folder(folds)}/{name}" for name in _OF_CROSS_VALIDATION),
        *(f"fold_{fold}/{name}" for fold in folds for name in (checkpoint, *_OF_FOLD)),
    ]


def required_members(folds: Sequence[str], checkpoint: str) -> list[str]:
    """What a package must hold, by path in the model's folder."""
    return [PLANS, DATASET, *(of(fold, checkpoint) for fold in folds for of in (checkpoint_of, safetensors_of))]


def possible_members(folds: Sequence[str], checkpoint: str) -> list[str]:
    """All that a package may hold besides its manifest, by path in the model's folder."""
    ours = [MODEL_CARD, SHIM, *(safetensors_of(fold, checkpoint) for fold in folds)]
    return [*exported_members(folds, checkpoint), *ours]
