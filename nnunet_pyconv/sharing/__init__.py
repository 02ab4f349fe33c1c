"""Trained models as packages: nnU-Net's export with hashes, versions, a model card and safetensors."""

from nnunet_pyconv.sharing.export import Shared, share_model
from nnunet_pyconv.sharing.install import Installed, install_model

__all__ = ["Installed", "Shared", "install_model", "share_model"]
