"""Networks with pyramidal convolutions, buildable from plans and as plain modules."""

from nnunet_pyconv.architectures.pyconv_unet import PYCONV_CLASSES, PyConvResidualEncoderUNet, PyConvUNet

__all__ = ["PYCONV_CLASSES", "PyConvResidualEncoderUNet", "PyConvUNet"]
