"""The paper's training recipe in mixed precision on a CPU."""

from __future__ import annotations

from typing import Any

import torch

from nnunet_pyconv.trainers.nnUNetTrainerPyConvPaper import nnUNetTrainerPyConvPaper


class nnUNetTrainerPyConvPaperBF16(nnUNetTrainerPyConvPaper):
    """Trains as `nnUNetTrainerPyConvPaper` does, and on a CPU its steps compute in mixed precision, with bfloat16.

    nnU-Net mixes precisions on CUDA alone. Processors with instructions for bfloat16 (AVX512-BF16 or AMX) are faster
    so, others slower. Weights, loss and the optimiser stay in float32. So does all that is no step: the best epoch, the
    final validation and predictions are those of the network in float32. On other devices it is its parent.
    """

    def train_step(self, batch: dict[str, Any]) -> dict[str, Any]:
        """Make nnU-Net's step, under autocast."""
        with torch.autocast("cpu", torch.bfloat16, enabled=self.device.type == "cpu"):
            result: dict[str, Any] = super().train_step(batch)
        return result
