"""Trained models as packages: nnU-Net's export with hashes, versions, a model card and safetensors."""

from nnunet_pyconv.sharing.install import InstalledModel, install_model
from nnunet_pyconv.sharing.share import SharedModel, share_model

__all__ = ["InstalledModel", "SharedModel", "install_model", "share_model"]
