"""Prediction with a model file: nnU-Net's whole inference without torch and without nnU-Net.

The package is copied into every model file, which runs by itself, so it imports nothing of the rest of this project:
NumPy, SciPy, ONNX Runtime and the library that reads the model's images are all it needs.

Example:
    from nnunet_pyconv.runtime import Predictor

    labels = Predictor("model.pyz")(array, spacing)
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from nnunet_pyconv.runtime.predictor import Predictor

__all__ = ["Predictor"]


def __getattr__(name: str) -> Any:
    if name == "Predictor":  # imported when it is asked for: --help needs none of the libraries behind it
        from nnunet_pyconv.runtime.predictor import Predictor

        return Predictor
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
