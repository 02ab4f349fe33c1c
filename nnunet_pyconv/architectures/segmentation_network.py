"""What the paper's networks have in common: any input size, and outputs as nnU-Net's trainers want them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

import torch
from torch import nn

from nnunet_pyconv.architectures.any_size import crop_to, pad_to_multiple


class Decoder(nn.Module):
    """Base of the decoders: from the encoder's feature maps to logits.

    Attributes:
        deep_supervision: Whether all heads answer or the best alone; nnU-Net's trainers switch it.
        seg_layers: The heads; nnU-Net's `-pretrained_weights` knows by this name what not to transfer.
    """

    def __init__(self, head_channels: int, num_classes: int, kernel_size: int = 1, n_heads: int = 1) -> None:
        super().__init__()
        self.deep_supervision = False
        self.seg_layers = nn.ModuleList(
            nn.Conv2d(head_channels, num_classes, kernel_size, padding=kernel_size // 2) for _ in range(n_heads)
        )

    def forward(self, features: list[torch.Tensor]) -> list[torch.Tensor]:
        """Return the logits of each head that answers, the best head's first, all `(N, num_classes, Y, X)`."""
        raise NotImplementedError


class SegmentationNetwork(nn.Module):
    """Base of the paper's networks: an encoder, a decoder, and what nnU-Net expects around them.

    nnU-Net's own recipe trains with deep supervision: it wants a list of outputs, whose scales it derives from
    `strides` in the plans, and gives the last of them the weight 0. A network with one head therefore answers twice
    with the same logits, so that the loss is that of its one output. All heads are at full resolution, so all strides
    are 1.

    The weights keep torch's initialisation, as in the paper, for there is no `initialize` that nnU-Net would call.

    Attributes:
        size_multiple: What the network needs the edges of its input to be a multiple of; `forward` pads and crops.
        n_outputs: Length of the list that deep supervision gives.
    """

    size_multiple: ClassVar[int] = 16
    n_outputs: ClassVar[int] = 2

    def __init__(
        self,
        encoder: nn.Module,
        decoder: Decoder,
        deep_supervision: bool = False,
        strides: Sequence[Sequence[int]] | None = None,
    ) -> None:
        """Join the parts.

        Args:
            encoder: From the padded image to a list of feature maps.
            decoder: From these to the logits.
            deep_supervision: Whether to return a list of `n_outputs` logits.
            strides: What plans carry for nnU-Net's loss: `[1, 1]`, `n_outputs + 1` times.

        Raises:
            ValueError: Other strides.
        """
        super().__init__()
        expected = [[1, 1]] * (self.n_outputs + 1)
        if strides is not None and [list(stride) for stride in strides] != expected:
            raise ValueError(
                f"strides={strides} do not suit {type(self).__name__}, whose outputs are all at full resolution; "
                f"expected {expected} in the plans"
            )
        self.encoder = encoder
        self.decoder = decoder
        self.decoder.deep_supervision = deep_supervision

    def forward(self, x: torch.Tensor) -> torch.Tensor | list[torch.Tensor]:
        """Segment.

        Args:
            x: `(N, input_channels, Y, X)`.

        Returns:
            Logits `(N, num_classes, Y, X)`; with deep supervision a list of `n_outputs` of them, the best head's first.
        """
        padded = pad_to_multiple(x, (self.size_multiple,) * 2)
        logits = [crop_to(each, x.shape[2:]) for each in self.decoder(self.encoder(padded))]
        if not self.decoder.deep_supervision:
            return logits[0]
        return logits * (self.n_outputs // len(logits))
