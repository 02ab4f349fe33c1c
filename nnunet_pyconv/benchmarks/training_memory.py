"""Measure the memory of training on a GPU beside the planners' estimate of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from nnunetv2.experiment_planning.experiment_planners.network_topology import get_pool_and_conv_props
from nnunetv2.utilities.get_network_from_plans import get_network_from_plans
from tqdm import tqdm

from nnunet_pyconv.benchmarks.plans import stock_architecture
from nnunet_pyconv.benchmarks.report import Measurements, Value
from nnunet_pyconv.nn import Block
from nnunet_pyconv.planning.design import Design
from nnunet_pyconv.planning.memory import training_loss
from nnunet_pyconv.planning.planners import GB, memory_of_plan


@dataclass(frozen=True)
class PlannedNetwork:
    """A network as nnU-Net plans it: patch in pixels, patches in a batch, plain or residual encoder."""

    patch_size: tuple[int, ...]
    batch_size: int
    residual: bool = False
    kernel_sizes: tuple[tuple[int, ...], ...] | None = None
    strides: tuple[tuple[int, ...], ...] | None = None
    block: Block = "plain"

    def __str__(self) -> str:
        patch = " x ".join(map(str, self.patch_size))
        network = "residual" if self.residual else "plain"
        block = "" if self.block == "plain" else f" {self.block}"
        return f"{network}{block}, {self.batch_size} of {patch}"

    def architecture(self) -> dict[str, Any]:
        """Return the entry `architecture` of plans for it, with 2 convolutions or nnU-Net's blocks a stage."""
        # as nnU-Net's planner calls it: stages down to 4 pixels, however many
        _, strides, kernel_sizes, *_ = get_pool_and_conv_props([1.0] * len(self.patch_size), self.patch_size, 4, 999999)
        strides = self.strides or strides
        kernel_sizes = self.kernel_sizes or kernel_sizes[: len(strides)]
        stock = stock_architecture(strides, kernel_sizes, residual_encoder=self.residual)
        return Design(block=self.block).architecture(stock, self.patch_size)


FLAT_KERNELS = ((1, 3, 3), (1, 3, 3), (3, 3, 3), (3, 3, 3), (3, 3, 3), (3, 3, 3))
FLAT_STRIDES = ((1, 1, 1), (1, 2, 2), (1, 2, 2), (2, 2, 2), (2, 2, 2), (1, 2, 2))
CASES = tuple(
    case
    for residual in (False, True)
    for case in (
        PlannedNetwork((512, 512), 12, residual),
        PlannedNetwork((320, 256), 16, residual),
        PlannedNetwork((128, 128, 128), 2, residual),
        PlannedNetwork((20, 320, 256), 2, residual, FLAT_KERNELS, FLAT_STRIDES),
    )
)
"""Plans of nnU-Net's 8 GB, in 2D and 3D, isotropic and flat."""


def measure_on_gpu(case: PlannedNetwork, steps: int = 3) -> int:
    """Train on the GPU in mixed precision, as nnU-Net's trainer does, with one channel and three labels.

    Args:
        case: Network, patch and batch.
        steps: How many; the momentum is there from the second one on.

    Returns:
        `torch.cuda.max_memory_allocated` in bytes.
    """
    architecture = case.architecture()
    torch.cuda.empty_cache()
    torch.cuda.reset_peak_memory_stats()
    network = get_network_from_plans(
        *(architecture[key] for key in ("network_class_name", "arch_kwargs", "_kw_requires_import")),
        1,
        3,
        deep_supervision=True,
    ).cuda()
    optimizer = torch.optim.SGD(network.parameters(), 1e-2, weight_decay=3e-5, momentum=0.99, nesterov=True)
    scaler = torch.amp.GradScaler("cuda")
    image = torch.randn(case.batch_size, 1, *case.patch_size, device="cuda")
    target = torch.zeros(case.batch_size, 1, *case.patch_size, device="cuda")
    for _ in range(steps):
        optimizer.zero_grad(set_to_none=True)
        with torch.autocast("cuda"):
            loss = training_loss(network(image), target)
        scaler.scale(loss).backward()  # type: ignore[no-untyped-call]
        scaler.unscale_(optimizer)
        torch.nn.utils.clip_grad_norm_(network.parameters(), 12)
        scaler.step(optimizer)
        scaler.update()
    torch.cuda.synchronize()
    return torch.cuda.max_memory_allocated()


def benchmark_training_memory(cases: Sequence[PlannedNetwork], steps: int, device: torch.device) -> list[Measurements]:
    """Put the planners' estimate beside what a training takes.

    Args:
        cases: Networks, patches and batches.
        steps: Training steps before the peak is read.
        device: Where to measure; on a CPU there are the estimates alone.

    Returns:
        A table with a row for each case.
    """
    rows: list[dict[str, Value]] = []
    for case in tqdm(cases, desc="peak memory", unit="network", leave=False):
        estimate = memory_of_plan(case.patch_size, case.batch_size, 1, 3, case.architecture()).peak_bytes
        peak = measure_on_gpu(case, steps) if device.type == "cuda" else None
        rows.append(
            {
                "network and batch": str(case),
                "estimate, GB": estimate / GB,
                "measured, GB": None if peak is None else peak / GB,
                "estimate / measured": None if peak is None else estimate / peak,
            }
        )
    return [Measurements("Peak memory of a training step: the planners' estimate, and max_memory_allocated", rows)]
