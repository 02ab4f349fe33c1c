"""Writing trained models as files that predict without torch."""

from nnunet_pyconv.export.export import Exported, export_model

__all__ = ["Exported", "export_model"]
