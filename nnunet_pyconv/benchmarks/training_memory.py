"""Measure the memory of training on a GPU beside the planners' estimate of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from nnunetv2.utilities.get_network_from_plans import get_network_from_plans
from tqdm import tqdm

from nnunet_pyconv.benchmarks.report import Measurements, Value
from nnunet_pyconv.nn import Block
from nnunet_pyconv.planning.design import pyramids_for
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
        dim = len(self.patch_size)
        strides = self.strides or _halvings(self.patch_size)
        n = len(strides)
        encoder = (
            {"n_blocks_per_stage": [1, 3, 4, 6, 6, 6, 6, 6][:n], "n_conv_per_stage_decoder": [1] * (n - 1)}
            if self.residual
            else {"n_conv_per_stage": [2] * n, "n_conv_per_stage_decoder": [2] * (n - 1)}
        )
        arch_kwargs = {
            "n_stages": n,
            "features_per_stage": [min(32 * 2**stage, 512 if dim == 2 else 320) for stage in range(n)],
            "conv_op": f"torch.nn.modules.conv.Conv{dim}d",
            "kernel_sizes": self.kernel_sizes or [[3] * dim] * n,
            "strides": strides,
            **encoder,
            "conv_bias": True,
            "norm_op": f"torch.nn.modules.instancenorm.InstanceNorm{dim}d",
            "norm_op_kwargs": {"eps": 1e-5, "affine": True},
            "dropout_op": None,
            "dropout_op_kwargs": None,
            "nonlin": "torch.nn.LeakyReLU",
            "nonlin_kwargs": {"inplace": True},
        }
        arch_kwargs |= {"pyramid": pyramids_for(self.patch_size, arch_kwargs, self.block), "block": self.block}
        name = "PyConvResidualEncoderUNet" if self.residual else "PyConvUNet"
        return {
            "network_class_name": f"nnunet_pyconv.architectures.pyconv_unet.{name}",
            "arch_kwargs": arch_kwargs,
            "_kw_requires_import": ["conv_op", "norm_op", "dropout_op", "nonlin"],
        }


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


def measure_on_gpu(case: PlannedNetwork, steps: int = 3, channels: int = 1, classes: int = 3) -> int:
    """Train on the GPU in mixed precision, as nnU-Net's trainer does.

    Args:
        case: Network, patch and batch.
        steps: How many; the momentum is there from the second one on.
        channels: Of the images.
        classes: With the background.

    Returns:
        `torch.cuda.max_memory_allocated` in bytes.
    """
    architecture = case.architecture()
    torch.cuda.empty_cache()
    torch.cuda.reset_peak_memory_stats()
    network = get_network_from_plans(
        *(architecture[key] for key in ("network_class_name", "arch_kwargs", "_kw_requires_import")),
        channels,
        classes,
        deep_supervision=True,
    ).cuda()
    optimizer = torch.optim.SGD(network.parameters(), 1e-2, weight_decay=3e-5, momentum=0.99, nesterov=True)
    scaler = torch.amp.GradScaler("cuda")
    image = torch.randn(case.batch_size, channels, *case.patch_size, device="cuda")
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


def _halvings(patch_size: Sequence[int]) -> list[list[int]]:
    """Strides of nnU-Net for isotropic patches: halve each axis down to 4 pixels."""
    strides, size = [[1] * len(patch_size)], list(patch_size)
    while any(edge >= 8 for edge in size):
        strides.append([2 if edge >= 8 else 1 for edge in size])
        size = [edge // s for edge, s in zip(size, strides[-1], strict=True)]
    return strides
