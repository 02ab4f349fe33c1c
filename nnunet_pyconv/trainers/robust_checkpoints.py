"""Checkpoints that survive a kill or a full disk, and are refused in plain words where they don't fit."""

from __future__ import annotations

import os
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer

from nnunet_pyconv import __version__
from nnunet_pyconv.checkpoints import TRUST_VARIABLE, UnreadableCheckpointError, load_checkpoint
from nnunet_pyconv.child_processes import end_forks_with_this_process
from nnunet_pyconv.locks import locked
from nnunet_pyconv.names import BEST_CHECKPOINT, FINAL_CHECKPOINT, LATEST_CHECKPOINT
from nnunet_pyconv.trainers.unwrapped import unwrapped

VERSION_KEY = "nnunet_pyconv"
"""The plugin's version among a checkpoint's `init_args`, of which nnU-Net reads `configuration` only."""

EARLIER = {
    FINAL_CHECKPOINT: (LATEST_CHECKPOINT, BEST_CHECKPOINT),
    LATEST_CHECKPOINT: (BEST_CHECKPOINT,),
}
"""What takes the place of a damaged checkpoint, in the order in which `--c` looks for them."""

LOCK = ".training.lock"
"""The file in a fold's folder by which a training keeps others away."""

PARTIAL = ".partial"
"""How the name of a checkpoint ends that is being written."""

_NEEDED = ("network_weights", "optimizer_state", "init_args", "current_epoch", "logging", "_best_ema")

Shapes = dict[str, tuple[int, ...]]


class RobustCheckpoints(nnUNetTrainer):
    """nnU-Net's trainer, whose checkpoints are written whole or not at all, and checked before they are loaded.

    nnU-Net (nnUNetTrainer.save_checkpoint) writes over the earlier file, so that a training that ends while it writes
    has neither. The file is the same as nnU-Net's, and carries the version of this plugin. A fold has one training at
    a time: two would write over each other's checkpoints and validation.
    """

    my_init_kwargs: dict[str, Any]

    def run_training(self) -> None:
        """Train, unless another process trains or validates this fold; the workers end with this process.

        Raises:
            InputError: Another process does.
        """
        end_forks_with_this_process()
        with self._fold_locked():
            super().run_training()

    def perform_actual_validation(self, save_probabilities: bool = False) -> None:
        """Validate, unless another process trains or validates this fold.

        Raises:
            InputError: Another process does.
        """
        with self._fold_locked():
            super().perform_actual_validation(save_probabilities)

    def save_checkpoint(self, filename: str) -> None:
        """Write a checkpoint beside `filename`, then rename it.

        Raises:
            OSError: The file could not be written; an earlier one of that name is as it was.
        """
        if self.local_rank != 0 or self.disable_checkpointing:  # nnU-Net writes in the first process only
            super().save_checkpoint(filename)
            return
        self.my_init_kwargs = {**self.my_init_kwargs, VERSION_KEY: __version__}
        partial = Path(f"{filename}.{uuid.uuid4().hex}{PARTIAL}")
        try:
            try:
                super().save_checkpoint(str(partial))
                with partial.open("rb+") as file:
                    os.fsync(file.fileno())
                partial.replace(filename)
            finally:
                partial.unlink(missing_ok=True)
        except (OSError, RuntimeError) as error:  # torch.save raises either
            raise OSError(
                f"{filename} could not be written ({error}). An earlier checkpoint of that name is as it was: make "
                "room, then continue with --c"
            ) from error

    def load_checkpoint(self, filename_or_checkpoint: dict[str, Any] | str) -> None:
        """Load a checkpoint; where its file is damaged, the one before it, and say so.

        Raises:
            RuntimeError: A damaged file with none before it, a file that is no checkpoint of nnU-Net, or weights of
                another network.
            UntrustedCheckpointError: A file that would run code, see `TRUST_VARIABLE`.
        """
        if not self.was_initialized:
            self.initialize()
        checkpoint, source = filename_or_checkpoint, "the given checkpoint"
        if isinstance(filename_or_checkpoint, str):
            source, checkpoint = self._read_or_earlier(Path(filename_or_checkpoint))
            filename_or_checkpoint = source
        self._check_that_it_fits(checkpoint, source)
        super().load_checkpoint(filename_or_checkpoint)  # unpickles the file again, which has been found harmless

    def _read_or_earlier(self, file: Path) -> tuple[str, Any]:
        earlier = [file.with_name(name) for name in EARLIER.get(file.name, ())]
        for candidate in [file, *filter(Path.exists, earlier)]:
            try:
                checkpoint = load_checkpoint(candidate, trust=os.environ.get(TRUST_VARIABLE) == "1")
            except UnreadableCheckpointError as error:
                self.print_to_log_file(f"WARNING: {error}")
                continue
            if candidate != file:
                self.print_to_log_file(f"WARNING: loading {candidate} in its place")
            return str(candidate), checkpoint
        raise RuntimeError(
            f"{file} is damaged or cut off, and there is no earlier checkpoint beside it that can be read; restore the "
            "file from a copy, or train anew without --c"
        )

    @contextmanager
    def _fold_locked(self) -> Iterator[None]:
        if self.local_rank != 0:  # the first process has the lock for all of a training on several GPUs
            yield
            return
        fold = Path(self.output_folder)
        fold.mkdir(parents=True, exist_ok=True)
        refusal = (
            f"{fold} is being trained or validated by another process; wait for it or end it, or train another fold, "
            "configuration or trainer"
        )
        with locked(fold / LOCK, refusal):
            for partial in fold.glob(f"*.pth.*{PARTIAL}"):  # of a training that was killed
                partial.unlink(missing_ok=True)
            yield

    def _check_that_it_fits(self, checkpoint: Any, source: str) -> None:
        missing = [key for key in _NEEDED if not isinstance(checkpoint, dict) or key not in checkpoint]
        if missing:
            raise RuntimeError(
                f"{source} is no checkpoint of nnU-Net's trainers: it has no {', no '.join(missing)}; give one that "
                "nnUNetv2_train wrote (nnunet_pyconv install writes none that can go on: fine-tune those with "
                "-pretrained_weights)"
            )
        expected = _shapes(unwrapped(self.network).state_dict())
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
