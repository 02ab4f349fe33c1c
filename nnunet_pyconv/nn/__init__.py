"""The pyramidal convolution and the swap."""

from nnunet_pyconv.names import Block
from nnunet_pyconv.nn.bottleneck import PyConvBottleneck
from nnunet_pyconv.nn.convert import convert_to_pyconv, map_size_per_stage, pyramid_per_stage
from nnunet_pyconv.nn.pyconv import PyConv2d, PyConv3d
from nnunet_pyconv.nn.pyramid import Level, Pyramid

__all__ = [
    "Block",
    "Level",
    "PyConv2d",
    "PyConv3d",
    "PyConvBottleneck",
    "Pyramid",
    "convert_to_pyconv",
    "map_size_per_stage",
    "pyramid_per_stage",
]
