"""nnU-Net's own trainers on planned networks, stock and with PyConv, ready to compute."""

from __future__ import annotations

import contextlib
import io
import os
import tempfile
from collections import Counter
from collections.abc import Iterator, Mapping
from copy import deepcopy
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any
from unittest import mock

import torch
from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer
from torch import nn
from torch.utils.flop_counter import FlopCounterMode
from tqdm import tqdm

from nnunet_pyconv.benchmarks.memory import in_fresh_process, megabytes, peak_growth_bytes
from nnunet_pyconv.benchmarks.plans import BenchmarkPlans
from nnunet_pyconv.nn import PyConv2d, PyConv3d
from nnunet_pyconv.nn.backends import use_backend
from nnunet_pyconv.planning import Design
from nnunet_pyconv.trainers import nnUNetTrainerPyConv
from nnunet_pyconv.trainers.unwrapped import unwrapped


@dataclass(frozen=True)
class Candidate:
    """A network and how it computes.

    Attributes:
        trainer: Builds the network of the plans.
        width: Features of each stage as a multiple of those of the plans.
        setting: Of `nn.backends.use_backend`.
        channels_last: The memory format.
        bfloat16: Under autocast on a CPU; on a GPU nnU-Net itself computes in float16 under autocast.
        compiled: By `torch.compile` on a CPU; on a GPU nnU-Net itself compiles, or doesn't.
    """

    trainer: type[nnUNetTrainer] = nnUNetTrainerPyConv
    width: float = 1.0
    setting: str = "auto"
    channels_last: bool = False
    bfloat16: bool = False
    compiled: bool = False

    @property
    def is_of_cpu(self) -> bool:
        """Whether it differs in what nnU-Net decides on a GPU."""
        return self.bfloat16 or self.compiled

    @contextlib.contextmanager
    def conditions(self) -> Iterator[None]:
        """Compute as this candidate does inside a `with` block."""
        with use_backend(self.setting), torch.autocast("cpu", torch.bfloat16, enabled=self.bfloat16):
            yield


STOCK = {"stock": Candidate(nnUNetTrainer), "stock channels_last": Candidate(nnUNetTrainer, channels_last=True)}
"""The references: the better of them counts."""


def measurable(compared: Mapping[str, Candidate], device: torch.device) -> dict[str, Candidate]:
    """Leave out what is a matter of the CPU alone: on a GPU nnU-Net chooses the dtype, and whether to compile."""
    return {name: candidate for name, candidate in compared.items() if device.type == "cpu" or not candidate.is_of_cpu}


class PreparedTraining:
    """A trainer that nnU-Net has initialised (network, optimizer, loss; compiled if nnU-Net would) and a batch.

    Attributes:
        candidate: What it was made of.
        trainer: Its folders are gone, so it can't write, but it computes.
        batch: Noise with the shapes and dtypes that nnU-Net's data loader gives: `data`, `(N, C, *patch_size)`, and
            `target`, a label map for each output of deep supervision.
    """

    def __init__(self, candidate: Candidate, planned: BenchmarkPlans, device: torch.device) -> None:
        """Build them for the network of some plans."""
        self.candidate = candidate
        self.trainer = _trainer(candidate, planned, device)
        patch_size, batch_size = self.trainer.configuration_manager.patch_size, self.trainer.batch_size
        labels = len(planned.dataset_json["labels"])
        data = torch.randn(batch_size, self.trainer.num_input_channels, *patch_size, device=device)
        target = [
            torch.randint(0, labels, (batch_size, 1, *size), dtype=torch.int16, device=device)
            for size in (
                [round(edge * scale) for edge, scale in zip(patch_size, scales, strict=True)]
                for scales in self.trainer._get_deep_supervision_scales()
            )
        ]
        if candidate.channels_last:
            memory_format = torch.channels_last if len(patch_size) == 2 else torch.channels_last_3d
            self.trainer.network.to(memory_format=memory_format)
            data = data.contiguous(memory_format=memory_format)
        self.batch: dict[str, Any] = {"data": data, "target": target}
        if candidate.compiled:
            self.trainer.network = torch.compile(self.trainer.network)

    @property
    def network(self) -> nn.Module:
        """The network without torch.compile."""
        return unwrapped(self.trainer.network)

    def train(self) -> None:
        """Make nnU-Net's training step: forward, loss of all outputs, backward, clipping, SGD."""
        with self.candidate.conditions():
            self.trainer.train_step(self.batch)

    def stop_training(self) -> None:
        """Put the network into the state in which nnU-Net predicts: one output, evaluation mode."""
        self.trainer.set_deep_supervision_enabled(False)
        self.trainer.network.eval()

    def infer(self) -> None:
        """Compute the output, in inference mode and on a GPU under autocast, as nnU-Net's predictor does."""
        x = self.batch["data"]
        with self.candidate.conditions(), torch.inference_mode(), torch.autocast("cuda", enabled=x.is_cuda):
            self.trainer.network(x)

    def parameters_m(self) -> float:
        """Count the parameters, in millions."""
        return sum(parameter.numel() for parameter in self.network.parameters()) / 1e6

    def gmac(self) -> float:
        """Count the multiplications of all convolutions for one patch, in 10^9, as published: level by level."""
        return convolution_gmac(self.network, self.batch["data"][:1])

    def backends(self) -> str | None:
        """Count the layers that each backend computes, for example "native 20, reference 9"; None without PyConv."""
        chosen: Counter[str] = Counter()

        def note(layer: nn.Module, inputs: tuple[torch.Tensor]) -> None:
            assert isinstance(layer, (PyConv2d, PyConv3d))
            chosen[layer.backend_for(inputs[0])] += 1

        layers = {module for module in self.network.modules() if isinstance(module, (PyConv2d, PyConv3d))}
        hooks = [layer.register_forward_pre_hook(note) for layer in layers]
        with self.candidate.conditions(), torch.inference_mode():
            self.network(self.batch["data"])
        for hook in hooks:
            hook.remove()
        return ", ".join(f"{name} {count}" for name, count in chosen.most_common()) or None


def peaks_of_step(
    compared: Mapping[str, Candidate], planned: BenchmarkPlans, device: torch.device
) -> dict[str, float | None]:
    """Measure each candidate's peak memory of a training step in MB, with network, gradients and momentum.

    On a CPU in a process of its own each; see `memory.peak_growth_bytes`.
    """
    return {
        name: peak_of_step(candidate, planned, device)
        for name, candidate in tqdm(compared.items(), desc="peak memory", unit="network", leave=False)
    }


def peak_of_step(candidate: Candidate, planned: BenchmarkPlans, device: torch.device) -> float | None:
    """Measure one candidate's peak memory as `peaks_of_step` does."""
    measure = partial(_peak_bytes_of_step, candidate, planned, device)
    return megabytes(measure() if device.type == "cuda" else in_fresh_process(measure))


def _peak_bytes_of_step(candidate: Candidate, planned: BenchmarkPlans, device: torch.device) -> int | None:
    return peak_growth_bytes(partial(_two_steps, candidate, planned, device), device)


def _two_steps(candidate: Candidate, planned: BenchmarkPlans, device: torch.device) -> None:
    prepared = PreparedTraining(candidate, planned, device)
    for _ in range(2):  # the momentum is there from the second step on
        prepared.train()


def _of_width(planned: BenchmarkPlans, width: float) -> dict[str, Any]:
    """Return the plans with a network of another width; of width 1 it may be any network."""
    if width == 1:
        return planned.plans
    plans = deepcopy(planned.plans)
    configuration = plans["configurations"][planned.configuration]
    design = Design("stock", width)
    configuration["architecture"] = design.architecture(configuration["architecture"], configuration["patch_size"])
    return plans


def _trainer(candidate: Candidate, planned: BenchmarkPlans, device: torch.device) -> nnUNetTrainer:
    with (
        tempfile.TemporaryDirectory() as folder,
        mock.patch.dict(os.environ, nnUNet_preprocessed=folder, nnUNet_results=folder),
        contextlib.redirect_stdout(io.StringIO()),  # nnU-Net prints
    ):
        plans = {**_of_width(planned, candidate.width), "continue_training": False}
        trainer = candidate.trainer(plans, planned.configuration, 0, planned.dataset_json, device)
        preprocessed = Path(trainer.preprocessed_dataset_folder)
        preprocessed.mkdir(parents=True)
        (preprocessed / "case.npz").touch()  # nnU-Net reads off it what kind of data it will load
        trainer.initialize()
    return trainer


def convolution_gmac(network: nn.Module, x: torch.Tensor) -> float:
    """Count the multiplications of all convolutions, in 10^9, level by level, without a gradient."""
    with FlopCounterMode(display=False) as counter, use_backend("reference"), torch.no_grad():
        network(x)
    return counter.get_total_flops() / 2e9
