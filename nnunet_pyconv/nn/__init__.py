"""The pyramidal convolution, its blocks and the swap."""

from nnunet_pyconv.names import BLOCKS, PARTS, Block, Part
from nnunet_pyconv.nn.bottleneck import PyConvBottleneck
from nnunet_pyconv.nn.convert import convert_to_pyconv, map_size_per_stage, pyramid_per_stage
from nnunet_pyconv.nn.level import Level
from nnunet_pyconv.nn.pyconv import PyConv2d, PyConv3d
from nnunet_pyconv.nn.pyramid import DEPTHWISE, DILATED, Pyramid
from nnunet_pyconv.nn.separable import PyConvSeparable

__all__ = [
    "BLOCKS",
    "DEPTHWISE",
    "DILATED",
    "PARTS",
    "Block",
    "Level",
    "Part",
    "PyConv2d",
    "PyConv3d",
    "PyConvBottleneck",
    "PyConvSeparable",
    "Pyramid",
    "convert_to_pyconv",
    "map_size_per_stage",
    "pyramid_per_stage",
]
