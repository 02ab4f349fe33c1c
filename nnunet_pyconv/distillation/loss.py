"""The loss of a distillation: labels and soft targets."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import nn
from torch.nn import functional

Outputs = torch.Tensor | Sequence[torch.Tensor]


class DistillationLoss(nn.Module):
    """A weighted mean of a loss of the labels and one of the teacher's soft outputs (Hinton et al. 2015, section 2).

        loss = (1 - w) * labels(z, y) + w * T^2 * KL(p(z_teacher / T) || p(z / T))

    z are logits, y labels and T the temperature. p is a softmax over the classes, or a sigmoid for each region, as in
    nnU-Net's prediction. The divergence is summed over classes and averaged over voxels, as cross entropy is; for
    regions it is averaged over both, as binary cross entropy is. It has the gradient of the cross entropy with soft
    targets, and is 0 where the student is like its teacher. The factor T^2 keeps the gradient's magnitude.

    With deep supervision each output is compared with the teacher's p, averaged over the voxels that make one of the
    output's, and outputs are weighted as in the loss of the labels. The teacher so needs no outputs of such sizes.

    Soft targets have a say on every voxel, on those with the ignore label too.

    Hinton, Vinyals and Dean, "Distilling the Knowledge in a Neural Network", arXiv:1503.02531.
    """

    def __init__(self, labels_loss: nn.Module, *, soft_weight: float, temperature: float, regions: bool) -> None:
        """Make the loss.

        Args:
            labels_loss: nnU-Net's loss, in its `DeepSupervisionWrapper` where the network has several outputs.
            soft_weight: w, from 0 (labels alone) to 1 (teacher alone).
            temperature: T, above 0.
            regions: Whether outputs are regions, which may overlap, or classes.

        Raises:
            ValueError: A weight or temperature out of its range.
        """
        super().__init__()
        if not (0 <= soft_weight <= 1 and temperature > 0):
            raise ValueError(
                f"soft_weight={soft_weight} and temperature={temperature}: expected a weight from 0 to 1 and a "
                "temperature above 0"
            )
        self.labels_loss = labels_loss
        self.soft_weight, self.temperature, self.regions = soft_weight, temperature, regions
        self.output_weights = [float(weight) for weight in getattr(labels_loss, "weight_factors", (1.0,))]

    def forward(self, output: Outputs, target: Outputs) -> torch.Tensor:
        """Return the loss of a batch.

        Args:
            output: The network's logits (N, C, ...), or, with deep supervision, a sequence of them.
            target: nnU-Net's targets, one for each output; in training a further one, the teacher's logits (N, C, ...)
                in full resolution. Without it the loss is that of the labels, as in validation.

        Returns:
            A scalar.
        """
        outputs = [output] if isinstance(output, torch.Tensor) else output
        targets = [target] if isinstance(target, torch.Tensor) else target
        if len(targets) == len(outputs):
            return self.labels_loss(output, target)
        *labels, teacher_logits = targets
        labels_loss = self.labels_loss(output, labels[0] if isinstance(output, torch.Tensor) else labels)
        return (1 - self.soft_weight) * labels_loss + self.soft_weight * self._soft_loss(outputs, teacher_logits)

    def extra_repr(self) -> str:
        """Return the numbers, for nnU-Net's `debug.json`."""
        return f"soft_weight={self.soft_weight}, temperature={self.temperature}, regions={self.regions}"

    def _soft_loss(self, outputs: Sequence[torch.Tensor], teacher_logits: torch.Tensor) -> torch.Tensor:
        softened = teacher_logits.float() / self.temperature
        probabilities = softened.sigmoid() if self.regions else softened.softmax(1)
        loss = torch.zeros((), device=teacher_logits.device)
        for weight, logits in zip(self.output_weights, outputs, strict=True):
            if weight:
                at_this_size = functional.interpolate(probabilities, logits.shape[2:], mode="area")
                loss = loss + weight * self._divergence(at_this_size, logits.float() / self.temperature)
        return self.temperature**2 * loss

    def _divergence(self, probabilities: torch.Tensor, logits: torch.Tensor) -> torch.Tensor:
        """Return KL(probabilities || p(logits)), also where a probability is 0."""
        if self.regions:
            entropy = -torch.xlogy(probabilities, probabilities) - torch.xlogy(1 - probabilities, 1 - probabilities)
            cross_entropy = functional.binary_cross_entropy_with_logits(logits, probabilities, reduction="none")
            return (cross_entropy - entropy).mean()
        return functional.kl_div(logits.log_softmax(1), probabilities, reduction="none").sum(1).mean()
