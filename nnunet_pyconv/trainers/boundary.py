"""Trainers that count the pixels at boundaries once more."""

from __future__ import annotations

from torch import nn

from nnunet_pyconv.trainers.boundary_loss import BoundaryLoss
from nnunet_pyconv.trainers.seed import SeededTrainer


class BoundaryTrainer(SeededTrainer):
    """nnU-Net's trainer, whose loss counts the pixels near a boundary once more, see `BoundaryLoss`.

    For thin structures that must not be interrupted, such as the membranes between cells: on ISBI 2012 it raises
    V_rand and V_info, which punish a gap, at the cost of Dice (docs/accuracy.md). In 3D an axis along which the plans'
    first kernel is 1, because its slices lie far apart, has no boundaries.

    Attributes:
        boundary_weight: Weight of the boundary's cross entropy.
        boundary_radius: How far from a boundary a pixel counts, in pixels.
    """

    boundary_weight: float = 1.0
    boundary_radius: int = 2

    def _build_loss(self) -> nn.Module:
        axes = len(self.configuration_manager.patch_size)
        # networks with kernels of their own, such as the paper's, have none in the plans
        first_kernel = self.configuration_manager.network_arch_init_kwargs.get("kernel_sizes", [[3] * axes])[0]
        return BoundaryLoss(
            super()._build_loss(),
            weight=self.boundary_weight,
            radius=[self.boundary_radius if edge > 1 else 0 for edge in first_kernel],
            regions=self.label_manager.has_regions,
            ignore_label=self.label_manager.ignore_label,
        )
