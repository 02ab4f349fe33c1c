"""A network in ONNX Runtime."""

from __future__ import annotations

import os
from typing import Any

import numpy as np
import onnxruntime
from numpy.typing import NDArray

from nnunet_pyconv.runtime.description import Device
from nnunet_pyconv.runtime.errors import InputError

INPUT, OUTPUT = "image", "logits"
"""Names of the network's input and output."""

PROVIDERS: dict[Device, tuple[str, str]] = {
    "cuda": ("CUDAExecutionProvider", "onnxruntime-gpu"),
    "mps": ("CoreMLExecutionProvider", "onnxruntime"),
    "openvino": ("OpenVINOExecutionProvider", "onnxruntime-openvino"),
    "cpu": ("CPUExecutionProvider", "onnxruntime"),
}
"""For each device ONNX Runtime's execution provider, and the package that has it; the fastest first."""


class OnnxNetwork:
    """A network that turns patches into logits.

    Raises:
        InputError: A device that is not there, or a file that ONNX Runtime can't run.
    """

    def __init__(self, content: bytes, device: Device | None, where: str) -> None:
        """Load the network.

        Args:
            content: The ONNX file.
            device: Where to compute; None for a GPU if ONNX Runtime has one, else the CPU.
            where: Name of the file, for error messages.
        """
        available = onnxruntime.get_available_providers()
        here = [name for name, (other, _) in PROVIDERS.items() if other in available]
        provider, package = PROVIDERS[device or here[0]]
        if provider not in available:
            raise InputError(
                f"-device {device}: ONNX Runtime has no {provider} here, only {', '.join(here)}; choose one of "
                f"these, or: pip install {package}"
            )
        options = onnxruntime.SessionOptions()
        options.log_severity_level = 3  # errors; the rest is for those who make models
        if threads := os.environ.get("OMP_NUM_THREADS", "").partition(",")[0]:
            options.intra_op_num_threads = int(threads) if threads.isdigit() else 0
        try:
            self._session = onnxruntime.InferenceSession(
                content, options, providers=list(dict.fromkeys((provider, "CPUExecutionProvider")))
            )
        except Exception as error:  # ONNX Runtime raises a class for each of its codes
            raise InputError(
                f"{where}: ONNX Runtime {onnxruntime.__version__} can't load the network ({str(error)[:300]}); "
                "pip install --upgrade onnxruntime, or export the model again"
            ) from error
        if device is not None and self._session.get_providers()[0] != provider:
            raise InputError(f"-device {device}: ONNX Runtime can't use {provider} here; choose another -device")

    def __call__(self, patch: NDArray[np.float32]) -> NDArray[np.float32]:
        """Compute the logits `(N, K, [Z,] Y, X)` of patches `(N, C, [Z,] Y, X)`."""
        result: Any = self._session.run([OUTPUT], {INPUT: patch})
        return result[0]
