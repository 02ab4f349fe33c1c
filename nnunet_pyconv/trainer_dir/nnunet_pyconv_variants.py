"""The variants that nnU-Net's finder sees; it comes here for names that nnunet_pyconv_trainers doesn't have."""

from nnunet_pyconv.trainers.variants import __getattr__

__all__ = ["__getattr__"]
