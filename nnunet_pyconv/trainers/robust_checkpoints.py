"""Checkpoints that survive a kill or a full disk, and are refused in plain words where they don't fit."""

from __future__ import annotations

import os
import pickle
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer
from torch import nn

from nnunet_pyconv import __version__

VERSION_KEY = "nnunet_pyconv"
"""The plugin's version among a checkpoint's `init_args`, of which nnU-Net reads `configuration` only."""

EARLIER = {
    "checkpoint_final.pth": ("checkpoint_latest.pth", "checkpoint_best.pth"),
    "checkpoint_latest.pth": ("checkpoint_best.pth",),
}
"""What takes the place of a damaged checkpoint, in the order in which `--c` looks for them."""

Shapes = dict[str, tuple[int, ...]]


class RobustCheckpoints(nnUNetTrainer):
    """nnU-Net's trainer, whose checkpoints are written whole or not at all, and checked before they are loaded.

    nnU-Net (nnUNetTrainer.save_checkpoint) writes over the earlier file, so that a training that ends while it writes
    has neither. The file is the same as nnU-Net's, and carries the version of this plugin.
    """

    my_init_kwargs: dict[str, Any]

    def save_checkpoint(self, filename: str) -> None:
        """Write a checkpoint beside `filename`, then rename it.

        Raises:
            OSError: The file could not be written; an earlier one of that name is as it was.
        """
        if self.local_rank != 0:  # nnU-Net writes in the first process only
            super().save_checkpoint(filename)
            return
        partial = Path(f"{filename}.partial")
        partial.unlink(missing_ok=True)  # of a training that was killed
        self.my_init_kwargs = {**self.my_init_kwargs, VERSION_KEY: __version__}
        try:
            super().save_checkpoint(str(partial))
            if partial.is_file():  # not with --disable_checkpointing
                with partial.open("rb+") as file:
                    os.fsync(file.fileno())
                partial.replace(filename)
        except (OSError, RuntimeError) as error:  # torch.save raises either
            partial.unlink(missing_ok=True)
            raise OSError(
                f"{filename} could not be written ({error}). An earlier checkpoint of that name is as it was: make "
                "room, then continue with --c"
            ) from error

    def load_checkpoint(self, filename_or_checkpoint: dict[str, Any] | str) -> None:
        """Load a checkpoint; where its file is damaged, the one before it, and say so.

        Raises:
            RuntimeError: A damaged file with none before it, a file that is no checkpoint of nnU-Net, or weights of
                another network.
        """
        if not self.was_initialized:
            self.initialize()
        checkpoint, source = filename_or_checkpoint, "the given checkpoint"
        if isinstance(filename_or_checkpoint, str):
            source, checkpoint = self._read_or_earlier(Path(filename_or_checkpoint))
            filename_or_checkpoint = source
        self._check_that_it_fits(checkpoint, source)
        super().load_checkpoint(filename_or_checkpoint)

    def _read_or_earlier(self, file: Path) -> tuple[str, Any]:
        earlier = [file.with_name(name) for name in EARLIER.get(file.name, ())]
        for candidate in [file, *filter(Path.is_file, earlier)]:
            try:
                checkpoint = torch.load(str(candidate), map_location="cpu", mmap=True, weights_only=False)
            except (RuntimeError, EOFError, pickle.UnpicklingError) as error:
                self.print_to_log_file(f"WARNING: {candidate} is damaged or cut off and can't be read ({error!r:.300})")
                continue
            if candidate != file:
                self.print_to_log_file(f"WARNING: loading {candidate} in its place")
            return str(candidate), checkpoint
        raise RuntimeError(
            f"{file} is damaged or cut off, and there is no earlier checkpoint beside it that can be read; restore the "
            "file from a copy, or train anew without --c"
        )

    def _check_that_it_fits(self, checkpoint: Any, source: str) -> None:
        if not isinstance(checkpoint, dict) or not {"network_weights", "init_args"} <= checkpoint.keys():
            raise RuntimeError(
                f"{source} is no checkpoint of nnU-Net's trainers, which hold network_weights and init_args; give one "
                "that nnUNetv2_train wrote"
            )
        expected = _shapes(_unwrapped(self.network).state_dict())
        found = _shapes(checkpoint["network_weights"])
        if expected == found:
            return
        differing = [name for name in expected | found if expected.get(name) != found.get(name)]
        layer = differing[0].rpartition(".levels.")[0] or differing[0].rpartition(".")[0]
        version = checkpoint["init_args"].get(VERSION_KEY)
        raise RuntimeError(
            f"{source} is of another network than that of {type(self).__name__} with the configuration "
            f"{self.configuration_name} of {self.plans_manager.plans_name} (nnunet-pyconv {__version__}).\n"
            f"  expected in {layer}: {_layer_of(expected, layer)}\n"
            f"  found in the checkpoint: {_layer_of(found, layer)}\n"
            f"It was written by {checkpoint.get('trainer_name')} with the configuration "
            f"{checkpoint['init_args'].get('configuration')} (nnunet-pyconv {version or 'unknown, or not used'}). "
            "Use what wrote it, or train anew without --c; nothing was changed"
        )


def _unwrapped(network: nn.Module) -> nn.Module:
    for wrapper in ("module", "_orig_mod"):  # of DistributedDataParallel and of torch.compile
        network = getattr(network, wrapper, network)
    return network


def _shapes(weights: Mapping[str, torch.Tensor]) -> Shapes:
    return {name.removeprefix("module."): tuple(weight.shape) for name, weight in weights.items()}


def _layer_of(shapes: Shapes, layer: str) -> str:
    """Describe a layer by its weights' shapes: `a pyramid in 2D, kernels 3x3, 5x5 (weights 4x8x3x3, 4x2x5x5)`."""
    pyramid = [shape for name, shape in shapes.items() if name.startswith(f"{layer}.levels.") and len(shape) > 3]
    weights = pyramid or [shape for name, shape in shapes.items() if name == f"{layer}.weight"]
    if not weights:
        parts = [name.removeprefix(f"{layer}.") for name in shapes if name.startswith(f"{layer}.")]
        return f"another block, of {', '.join(parts)}" if parts else "no such layer"
    kind = f"a pyramid in {len(weights[0]) - 2}D" if pyramid else "no pyramid but one layer"
    kernels = ", ".join("x".join(map(str, shape[2:])) for shape in weights)
    return f"{kind}, kernels {kernels or 'none'} (weights {', '.join('x'.join(map(str, s)) for s in weights)})"
