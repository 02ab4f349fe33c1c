"""Networks with pyramidal convolutions and the paper's peers, buildable from plans and as plain modules."""

from nnunet_pyconv.architectures.attention_unet import AttentionUNet
from nnunet_pyconv.architectures.fcn8s import FCN8s
from nnunet_pyconv.architectures.multires_unet import MultiResUNet
from nnunet_pyconv.architectures.paper_pyconv_unet import PaperPyConvUNet
from nnunet_pyconv.architectures.pyconv_unet import PYCONV_CLASSES, PyConvResidualEncoderUNet, PyConvUNet
from nnunet_pyconv.architectures.resnet34_unet import ResNet34UNet
from nnunet_pyconv.architectures.segmentation_network import SegmentationNetwork
from nnunet_pyconv.architectures.unet import UNet
from nnunet_pyconv.architectures.unet_plus_plus import UNetPlusPlus

__all__ = [
    "PYCONV_CLASSES",
    "AttentionUNet",
    "FCN8s",
    "MultiResUNet",
    "PaperPyConvUNet",
    "PyConvResidualEncoderUNet",
    "PyConvUNet",
    "ResNet34UNet",
    "SegmentationNetwork",
    "UNet",
    "UNetPlusPlus",
]
