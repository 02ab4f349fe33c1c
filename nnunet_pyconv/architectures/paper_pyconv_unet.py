"""The paper's PyConvU-Net, as far as its text determines it."""

from __future__ import annotations

from collections.abc import Sequence

from torch import nn

from nnunet_pyconv.architectures.segmentation_network import SegmentationNetwork
from nnunet_pyconv.architectures.unet import FEATURES_PER_STAGE, UNetDecoder, UNetEncoder
from nnunet_pyconv.nn import PyConv2d


def pyconv_block(in_channels: int, out_channels: int) -> nn.Sequential:
    """Make the pyramidal block: 1 x 1 to half the output channels, PyConv 3, 5, 7, 9, 1 x 1 to the output channels.

    Each convolution is followed by batch normalisation and ReLU (legend of the paper's Fig. 5), which is why none has a
    bias.
    """
    middle = out_channels // 2
    return nn.Sequential(
        nn.Conv2d(in_channels, middle, 1, bias=False),
        nn.BatchNorm2d(middle),
        nn.ReLU(inplace=True),
        PyConv2d(middle, middle),
        nn.BatchNorm2d(middle),
        nn.ReLU(inplace=True),
        nn.Conv2d(middle, out_channels, 1, bias=False),
        nn.BatchNorm2d(out_channels),
        nn.ReLU(inplace=True),
    )


class PaperPyConvUNet(SegmentationNetwork):
    """The paper's PyConvU-Net: its U-Net with every convolution block replaced by a pyramidal one.

    The text says that PyConv replaces "all conventional convolution layers" of the U-Net, with "same" padding, batch
    normalisation and ReLU, and Table 3 gives 3.7 M parameters and 10.65 GMac at 3 x 512 x 512. No reading gives both
    figures, and the published class can't run: its blocks emit four times the channels that the next layer takes. So
    this is ours, with 1.82 M parameters and 9.82 GMac:

    - A PyConv with the groups of Eq. 7 (1, 4, 8, 16) in place of each 3 x 3 convolution has 37.8 GMac, and one in place
      of the two convolutions of a block 21.0 GMac, most of it in the decoder. Both exceed Table 3.
    - PyConv's authors (Duta et al., the paper's reference 16) and the published class build it into bottleneck blocks:
      1 x 1 reduction, PyConv, 1 x 1 expansion by 4, or by 2 in their PyConvHGResNet. One such block with an expansion
      of 2 in place of each block of the U-Net is, of the readings within both figures, the nearest to them. Two in a
      row exceed them; with an expansion of 4, one has 1.08 M and 5.3 GMac, two have 1.49 M and 8.4 GMac.
    - There is no addition around the block: the paper speaks of none, and the published class leaves it out.
    - Transposed convolutions, pooling and the 1 x 1 head stay; the paper's final sigmoid belongs to the loss and the
      prediction.
    """

    def __init__(
        self,
        input_channels: int,
        num_classes: int,
        deep_supervision: bool = False,
        strides: Sequence[Sequence[int]] | None = None,
    ) -> None:
        """Build the network.

        Args:
            input_channels: Channels of the image.
            num_classes: Channels of the logits.
            deep_supervision: Whether to answer with a list, see `SegmentationNetwork`.
            strides: For plans only, see `SegmentationNetwork`.
        """
        super().__init__(
            UNetEncoder(input_channels, FEATURES_PER_STAGE, pyconv_block),
            UNetDecoder(FEATURES_PER_STAGE, num_classes, pyconv_block),
            deep_supervision,
            strides,
        )
