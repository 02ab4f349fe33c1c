"""nnU-Net's own trainers on planned networks, stock and with PyConv, ready to compute."""

from __future__ import annotations

import contextlib
import io
import os
import tempfile
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any
from unittest import mock

import torch
from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from nnunet_pyconv.benchmarks.memory import peak_growth_mb
from nnunet_pyconv.benchmarks.plans import CONFIGURATION, DATASET_JSON, plan
from nnunet_pyconv.nn import PyConv2d, PyConv3d
from nnunet_pyconv.nn.execution import execution
from nnunet_pyconv.trainers import nnUNetTrainerPyConv


@dataclass(frozen=True)
class System:
    """A network and how it computes.

    Attributes:
        trainer: Builds the network of the plans.
        setting: Of `nn.execution.execution`.
        channels_last: The memory format.
        bfloat16: Under autocast on a CPU; on a GPU nnU-Net itself computes in float16 under autocast.
    """

    trainer: type[nnUNetTrainer] = nnUNetTrainerPyConv
    setting: str = "auto"
    channels_last: bool = False
    bfloat16: bool = False

    @contextlib.contextmanager
    def conditions(self) -> Iterator[None]:
        """Compute as this system does inside a `with` block."""
        with execution(self.setting), torch.autocast("cpu", torch.bfloat16, enabled=self.bfloat16):
            yield


STOCK = {
    "stock": System(nnUNetTrainer),
    "stock channels_last": System(nnUNetTrainer, channels_last=True),
}
"""The references: the better of them counts."""


def that_run(compared: Mapping[str, System], device: torch.device) -> dict[str, System]:
    """Leave out what is a matter of the CPU alone: on a GPU nnU-Net chooses the dtype."""
    return {name: system for name, system in compared.items() if device.type == "cpu" or not system.bfloat16}


def build(system: System, patch_size: Sequence[int], batch_size: int, device: torch.device) -> nnUNetTrainer:
    """Initialise a trainer as nnU-Net does: network, optimizer and loss, compiled if nnU-Net would.

    Args:
        system: Which trainer and memory format.
        patch_size: In pixels.
        batch_size: Patches a step.
        device: Where to.

    Returns:
        The trainer; its folders are gone, so it can't write, but `train_step` computes.
    """
    plans = plan(patch_size, batch_size)
    with (
        tempfile.TemporaryDirectory() as folder,
        mock.patch.dict(os.environ, nnUNet_preprocessed=folder, nnUNet_results=folder),
        contextlib.redirect_stdout(io.StringIO()),  # nnU-Net narrates
    ):
        trainer = system.trainer({**plans, "continue_training": False}, CONFIGURATION, 0, DATASET_JSON, device)
        preprocessed = Path(trainer.preprocessed_dataset_folder)
        preprocessed.mkdir(parents=True)
        (preprocessed / "case.npz").touch()  # nnU-Net reads off it what kind of data it will load
        trainer.initialize()
    if system.channels_last:
        trainer.network.to(memory_format=_channels_last(patch_size))
    return trainer


def random_batch(trainer: nnUNetTrainer, system: System, device: torch.device) -> dict[str, Any]:
    """Make a batch of noise with the shapes and dtypes that nnU-Net's data loader gives.

    Returns:
        `data`, `(N, 1, *patch_size)`, and `target`, one label map for each output of deep supervision.
    """
    patch_size = trainer.configuration_manager.patch_size
    data = torch.randn(trainer.batch_size, 1, *patch_size, device=device)
    if system.channels_last:
        data = data.contiguous(memory_format=_channels_last(patch_size))
    target = [
        torch.randint(
            0,
            2,
            (trainer.batch_size, 1, *(round(e * s) for e, s in zip(patch_size, scales, strict=True))),
            dtype=torch.int16,
            device=device,
        )
        for scales in trainer._get_deep_supervision_scales()
    ]
    return {"data": data, "target": target}


def train(trainer: nnUNetTrainer, system: System, batch: dict[str, Any]) -> None:
    """Make nnU-Net's training step: forward, loss of all outputs, backward, clipping, SGD."""
    with system.conditions():
        trainer.train_step(batch)


def infer(trainer: nnUNetTrainer, system: System, batch: dict[str, Any]) -> None:
    """Compute one output, in inference mode and on a GPU under autocast, as nnU-Net's predictor does."""
    x = batch["data"]
    with system.conditions(), torch.inference_mode(), torch.autocast("cuda", enabled=x.is_cuda):
        trainer.network(x)


def for_inference(trainer: nnUNetTrainer) -> nnUNetTrainer:
    """Put the network of a trainer into the state in which nnU-Net predicts."""
    trainer.set_deep_supervision_enabled(False)
    trainer.network.eval()
    return trainer


def parameters_m(trainer: nnUNetTrainer) -> float:
    """Count the parameters, in millions."""
    return sum(parameter.numel() for parameter in trainer.network.parameters()) / 1e6


def gmac(trainer: nnUNetTrainer) -> float:
    """Count the multiplications of all convolutions for one patch, in 10^9, as published: level by level."""
    network = plain(trainer.network)
    x = torch.zeros(1, 1, *trainer.configuration_manager.patch_size, device=next(network.parameters()).device)
    with FlopCounterMode(display=False) as counter, execution("levels"), torch.no_grad():
        network(x)
    return counter.get_total_flops() / 2e9


def executions(trainer: nnUNetTrainer, system: System, batch: dict[str, Any]) -> str | None:
    """Tell how many layers are executed in each way, for example "direct 20, levels 9"; None without PyConv."""
    network = plain(trainer.network)
    chosen: Counter[str] = Counter()

    def note(layer: nn.Module, inputs: tuple[torch.Tensor]) -> None:
        assert isinstance(layer, (PyConv2d, PyConv3d))
        chosen[layer.execution_for(inputs[0])] += 1

    layers = {module for module in network.modules() if isinstance(module, (PyConv2d, PyConv3d))}
    hooks = [layer.register_forward_pre_hook(note) for layer in layers]
    with system.conditions(), torch.inference_mode():
        network(batch["data"])
    for hook in hooks:
        hook.remove()
    return ", ".join(f"{name} {count}" for name, count in chosen.most_common()) or None


def peak_of_step(system: System, patch_size: Sequence[int], batch_size: int, device: torch.device) -> float | None:
    """Measure the peak memory of a training with two steps, network and optimizer included, in MB.

    See `memory.peak_growth_mb`; to be called in a process of its own.
    """
    return peak_growth_mb(partial(_two_steps, system, patch_size, batch_size, device), device)


def _two_steps(system: System, patch_size: Sequence[int], batch_size: int, device: torch.device) -> None:
    trainer = build(system, patch_size, batch_size, device)
    batch = random_batch(trainer, system, device)
    for _ in range(2):  # the momentum is there from the second step on
        train(trainer, system, batch)


def _channels_last(patch_size: Sequence[int]) -> torch.memory_format:
    return torch.channels_last if len(patch_size) == 2 else torch.channels_last_3d


def plain(network: nn.Module) -> nn.Module:
    """Return the network without torch.compile."""
    return getattr(network, "_orig_mod", network)
