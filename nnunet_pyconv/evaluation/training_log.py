"""Loss and Dice by epoch, as nnU-Net's logger keeps them in a checkpoint."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from nnunet_pyconv.checkpoints import load_checkpoint
from nnunet_pyconv.errors import InputError
from nnunet_pyconv.evaluation.metrics import iou_of_dice

_KEYS = ("train_losses", "val_losses", "dice_per_class_or_region")


@dataclass(frozen=True)
class TrainingLog:
    """The curves of one training, one value an epoch.

    Attributes:
        train_loss: Mean training loss.
        dice: nnU-Net's pseudo Dice, mean over the foreground classes. It comes from counts over all pixels of the
            random validation patches of an epoch, so it is no mean over images.
        iou: IoU from the same counts; exact, since `Dice = 2 IoU / (1 + IoU)` holds for each class.
    """

    train_loss: tuple[float, ...]
    dice: tuple[float, ...]
    iou: tuple[float, ...]


def read_training_log(checkpoint: Path, *, trust: bool = False) -> TrainingLog:
    """Read the log from a checkpoint of nnU-Net (`LocalLogger`, training/logging/nnunet_logger.py).

    Args:
        checkpoint: For example `fold_0/checkpoint_final.pth`.
        trust: Whether to load a checkpoint that would run code.

    Raises:
        InputError: A file that can't be read or is not trusted, or a log that another version of nnU-Net wrote.
    """
    log = load_checkpoint(checkpoint, trust=trust, weights=False).get("logging")
    try:
        return _training_log(log if isinstance(log, dict) else {})
    except (ValueError, TypeError) as error:
        raise InputError(
            f"{checkpoint} has a training log with {error}; expected that of nnU-Net 2.8, with one value an epoch in "
            f"{', '.join(_KEYS)}. Another version wrote it: train again, or leave it out with -tr, -p, -c or -f"
        ) from error


def _training_log(log: dict[str, Any]) -> TrainingLog:
    """Raises a ValueError or TypeError that says what the log has instead."""
    missing = [key for key in _KEYS if not (isinstance(log.get(key), list) and log[key])]
    if missing:
        raise ValueError(f"no {' and no '.join(missing)}")
    lengths = {key: len(log[key]) for key in _KEYS}
    if len(set(lengths.values())) != 1:
        raise ValueError(f"lists of several lengths ({lengths})")
    per_class = [[float(dice) for dice in epoch] for epoch in log["dice_per_class_or_region"]]
    if impossible := [dice for epoch in per_class for dice in epoch if dice < 0 or dice > 1]:
        raise ValueError(f"a Dice of {impossible[0]:g}")
    return TrainingLog(
        train_loss=tuple(float(loss) for loss in log["train_losses"]),
        dice=tuple(_mean(epoch) for epoch in per_class),
        iou=tuple(_mean([iou_of_dice(dice) for dice in epoch]) for epoch in per_class),
    )


def _mean(values: list[float]) -> float:
    """Mean over the classes that were there, as nnU-Net takes it."""
    present = [value for value in values if not math.isnan(value)]
    return sum(present) / len(present) if present else math.nan
