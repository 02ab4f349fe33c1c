"""A loss that counts the pixels at boundaries once more."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import nn
from torch.nn import functional

Outputs = torch.Tensor | Sequence[torch.Tensor]

_POOLING = {2: functional.max_pool2d, 3: functional.max_pool3d}


class BoundaryLoss(nn.Module):
    """A loss of the labels, and with a weight the mean cross entropy of the pixels near a boundary.

        loss = labels(z, y) + w * mean over pixels near a boundary of CE(z, y)

    Near a boundary is a pixel with another label than its own within the radius along some axis or diagonal. Thin
    structures, such as the membranes between cells, are boundary as a whole; in a mean over all pixels they have little
    say. Ronneberger et al. 2015 (U-Net, arXiv:1505.04597, equation 2) weight borders between cells for this reason,
    with a map that falls with the distance from the two nearest cells; this is its plain form, without objects.

    Regions, which may overlap, each have boundaries of their own, and binary cross entropy. Pixels of the ignore label
    have no say, nor have those that are near a boundary with it alone. With deep supervision the output at full
    resolution is compared. Without any pixel near a boundary the second term is 0.
    """

    def __init__(
        self, labels_loss: nn.Module, *, weight: float, radius: Sequence[int], regions: bool, ignore_label: int | None
    ) -> None:
        """Make the loss.

        Args:
            labels_loss: nnU-Net's loss, in its `DeepSupervisionWrapper` where the network has several outputs.
            weight: w, above 0.
            radius: In pixels along each axis; 0 where neighbours along an axis don't count.
            regions: Whether outputs are regions or classes.
            ignore_label: Label of pixels that don't count; None for none.

        Raises:
            ValueError: A weight or radius out of its range.
        """
        super().__init__()
        if not weight > 0 or min(radius) < 0 or max(radius) < 1 or len(radius) not in _POOLING:
            raise ValueError(
                f"weight={weight} and radius={tuple(radius)}: expected a weight above 0, and for two or three axes a "
                "radius in pixels, not all 0"
            )
        self.labels_loss = labels_loss
        self.weight, self.radius, self.regions, self.ignore_label = weight, tuple(radius), regions, ignore_label

    def forward(self, output: Outputs, target: Outputs) -> torch.Tensor:
        """Return the loss of a batch.

        Args:
            output: Logits (N, C, ...), or, with deep supervision, a sequence of them, full resolution first.
            target: nnU-Net's targets, (N, 1, ...) of labels or (N, R, ...) of regions, with one channel more that marks
                ignored pixels where there is an ignore label; with deep supervision one for each output.

        Returns:
            A scalar.
        """
        labels_loss: torch.Tensor = self.labels_loss(output, target)
        logits, labels = (each if isinstance(each, torch.Tensor) else each[0] for each in (output, target))
        losses, near = self._of_regions(logits, labels) if self.regions else self._of_classes(logits, labels)
        return labels_loss + self.weight * (losses * near).sum() / near.sum().clamp(min=1)

    def extra_repr(self) -> str:
        """Return the numbers, for nnU-Net's `debug.json`."""
        return f"weight={self.weight}, radius={self.radius}, regions={self.regions}, ignore_label={self.ignore_label}"

    def _of_classes(self, logits: torch.Tensor, target: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        labels = target[:, 0].long()
        if self.ignore_label is None:
            return functional.cross_entropy(logits, labels, reduction="none"), self._near(target)[:, 0]
        ignored = target == self.ignore_label
        losses = functional.cross_entropy(logits, labels, ignore_index=self.ignore_label, reduction="none")
        return losses, (self._near(target, ignored) & ~ignored)[:, 0]

    def _of_regions(self, logits: torch.Tensor, target: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        regions, ignored = target[:, : logits.shape[1]], None
        if self.ignore_label is not None:
            ignored = target[:, -1:].bool()
        losses = functional.binary_cross_entropy_with_logits(logits, regions.to(logits.dtype), reduction="none")
        near = self._near(regions, None if ignored is None else ignored.expand_as(regions))
        return losses, near if ignored is None else near & ~ignored

    def _near(self, labels: torch.Tensor, ignored: torch.Tensor | None = None) -> torch.Tensor:
        """Tell which pixels have different labels around them, (N, C, ...); those of ignored pixels are none."""
        highest = lowest = labels.float()
        if ignored is not None:
            highest, lowest = (highest.masked_fill(ignored, value) for value in (-torch.inf, torch.inf))
        return self._largest_around(highest) > -self._largest_around(-lowest)

    def _largest_around(self, values: torch.Tensor) -> torch.Tensor:
        kernel = [2 * radius + 1 for radius in self.radius]
        largest: torch.Tensor = _POOLING[len(kernel)](values, kernel, 1, self.radius)
        return largest
