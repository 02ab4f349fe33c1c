"""A checkpoint as safetensors: weights and training curves in a file whose reading runs no code."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_model
from torch import nn

from nnunet_pyconv.errors import InputError
from nnunet_pyconv.sharing.names import parse_model

_KEY = "nnunet_checkpoint"
"""Where the metadata of the file holds all but the weights; its other entries are second names of tensors."""


@dataclass(frozen=True)
class TrainingState:
    """What a checkpoint holds besides weights and the optimiser's state, in JSON's types.

    Attributes:
        trainer_name: Name of the trainer class.
        configuration: Name of the configuration.
        fold: Number of the fold, or `all`.
        current_epoch: Number of epochs.
        best_ema: nnU-Net's moving average of the pseudo Dice at its best epoch.
        mirroring_axes: Along which axes nnU-Net mirrors in prediction.
        logging: nnU-Net's log, lists of one value an epoch.
    """

    trainer_name: str
    configuration: str
    fold: int | str
    current_epoch: int
    best_ema: float | None
    mirroring_axes: tuple[int, ...] | None
    logging: dict[str, Any]

    @classmethod
    def of(cls, checkpoint: dict[str, Any]) -> TrainingState:
        """Take it from a checkpoint of nnU-Net."""
        return cls(
            trainer_name=checkpoint["trainer_name"],
            configuration=checkpoint["init_args"]["configuration"],
            fold=checkpoint["init_args"].get("fold", "all"),
            current_epoch=checkpoint["current_epoch"],
            best_ema=_plain(checkpoint.get("_best_ema")),
            mirroring_axes=checkpoint.get("inference_allowed_mirroring_axes"),
            logging=_plain(checkpoint.get("logging", {})),
        )

    def check_that_it_is_of(self, model: str, fold: str) -> None:
        """Check that a model's folder is named after what its checkpoint says.

        Raises:
            InputError: Another trainer, configuration or fold.
        """
        setup = parse_model(model)[1]
        found = (self.trainer_name, self.configuration, str(self.fold))
        if found != (setup.trainer, setup.configuration, fold):
            raise InputError(
                f"the checkpoint of fold {fold} is of {', '.join(map(repr, found)):.200}; expected that of {model!r}"
            )


def save_checkpoint_as_safetensors(network: nn.Module, state: TrainingState, file: Path) -> None:
    """Write the weights of a network, and what its checkpoint holds besides.

    Raises:
        InputError: A log that holds more than numbers and texts.
    """
    try:
        text = json.dumps(asdict(state))
    except (TypeError, ValueError) as error:
        raise InputError(f"the checkpoint's log can't be written as JSON ({error}); train with nnU-Net 2.8") from error
    save_model(network, str(file), metadata={_KEY: text})  # knows tensors that have several names, as nnU-Net's have


def checkpoint_from_safetensors(file: Path) -> tuple[TrainingState, dict[str, Any]]:
    """Make a checkpoint as nnU-Net's prediction, fine-tuning and reports need it: without the optimiser's state.

    Returns:
        What it holds besides the weights, and the checkpoint, of plain types and tensors alone.

    Raises:
        InputError: No such file, a damaged one, or one that `nnunet_pyconv share` did not write.
    """
    try:
        with safe_open(str(file), "pt") as content:
            metadata: dict[str, str] = content.metadata() or {}
            weights: dict[str, torch.Tensor] = {name: content.get_tensor(name) for name in content.keys()}  # noqa: SIM118  # no dict
        state = _parse(json.loads(metadata.pop(_KEY)))
        weights |= {name: weights[kept] for name, kept in metadata.items()}
    except (SafetensorError, OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        raise InputError(
            f"{file.name} does not hold a checkpoint ({error!r:.200}); expected what nnunet_pyconv share writes"
        ) from error
    return state, {
        "network_weights": weights,
        "init_args": {"configuration": state.configuration, "fold": state.fold},
        "trainer_name": state.trainer_name,
        "current_epoch": state.current_epoch,
        "_best_ema": state.best_ema,
        "inference_allowed_mirroring_axes": state.mirroring_axes,
        "logging": state.logging,
    }


def _parse(content: dict[str, Any]) -> TrainingState:
    axes = content["mirroring_axes"]
    state = TrainingState(**{**content, "mirroring_axes": None if axes is None else tuple(axes)})
    if not (isinstance(state.current_epoch, int) and isinstance(state.logging, dict)):
        raise TypeError("epochs or log of another kind")
    if not set(state.mirroring_axes or ()) <= {0, 1, 2}:
        raise ValueError(f"the mirroring axes {axes}")
    return state


def _plain(value: Any) -> Any:
    """Turn numpy's numbers into Python's."""
    if isinstance(value, dict):
        return {key: _plain(entry) for key, entry in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(entry) for entry in value]
    return value.item() if isinstance(value, (np.generic, np.ndarray, torch.Tensor)) else value
