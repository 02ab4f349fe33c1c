"""8-bit networks, calibrated on the training cases and held to their accuracy."""

from __future__ import annotations

import logging
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnxruntime.quantization import CalibrationDataReader, QuantType
from onnxruntime.quantization.calibrate import TensorsData, create_calibrator
from onnxruntime.quantization.qdq_quantizer import QDQQuantizer
from onnxruntime.quantization.shape_inference import quant_pre_process

from nnunet_pyconv.export.precision import with_8_bit_weights
from nnunet_pyconv.export.training_cases import PreprocessedCase, mean_dice
from nnunet_pyconv.runtime.description import Description
from nnunet_pyconv.runtime.network import INPUT, OnnxNetwork

DICE_LIMIT = 0.006
"""Largest loss of Dice: the best that has been published for nnU-Net (0.901 to 0.895)."""
_OPERATORS = ["Conv", "ConvTranspose"]
_RANKING_PATCHES = 4
_MOST_IN_FLOAT = 0.5
"""With more convolutions than this share in float32, a network is no longer smaller and faster."""


@dataclass(frozen=True)
class Quantized:
    """An 8-bit network.

    Attributes:
        content: The ONNX file.
        dice: Mean Dice of the 8-bit network on validation cases.
        dice_float: That of the network in float32.
        in_float: Number of convolutions that compute in float32.
        convolutions: Number of all.
    """

    content: bytes
    dice: float
    dice_float: float
    in_float: int
    convolutions: int

    @property
    def loss(self) -> float:
        """What 8 bit cost, in Dice."""
        return self.dice_float - self.dice


def quantize(
    model: Path,
    patches: Sequence[NDArray[np.float32]],
    validation: Sequence[PreprocessedCase],
    description: Description,
) -> Quantized:
    """Quantise the convolutions, and give those back to float32 that cost the most until the Dice is held.

    Weights are signed, of 7 bit, and have a scale for each channel; activations are unsigned and have one for each
    tensor. So no CPU saturates. Scales come from the smallest and largest values on the patches. Of
    grouped convolutions, which ONNX Runtime computes slowly in 8 bit, only the weights are stored so.

    Args:
        model: ONNX file in float32.
        patches: To calibrate with, each `(1, C, [Z,] Y, X)`.
        validation: Cases to measure the Dice with.
        description: Of the model.

    Returns:
        The first network that loses no more than `DICE_LIMIT`, or the best one that was found.
    """
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)  # it recommends what has been done
    try:
        with tempfile.TemporaryDirectory() as folder:
            prepared = Path(folder) / "prepared.onnx"
            quant_pre_process(str(model), str(prepared), skip_symbolic_shape=True)
            ranges = _ranges(prepared, patches, Path(folder))
            convolutions = [node for node in onnx.load(prepared).graph.node if node.op_type in _OPERATORS]
            nodes = [node.name for node in convolutions if not _is_grouped(node)]
            grouped = [node.input[1] for node in convolutions if _is_grouped(node)]
            reference = OnnxNetwork(model.read_bytes(), "cpu", model.name)
            dice_float = mean_dice(reference, validation, description)
            best: Quantized | None = None
            ranking: list[str] = []
            for in_float in _numbers(len(nodes)):
                if in_float and not ranking:
                    ranking = _ranked(prepared, nodes, ranges, reference, patches[:_RANKING_PATCHES])
                quantized = [node for node in nodes if node not in ranking[:in_float]]
                content = _quantized(prepared, quantized, ranges, grouped)
                dice = mean_dice(OnnxNetwork(content, "cpu", model.name), validation, description)
                found = Quantized(content, dice, dice_float, len(grouped) + in_float, len(convolutions))
                if best is None or found.loss < best.loss:
                    best = found
                if best.loss <= DICE_LIMIT:
                    break
    finally:
        logging.disable(before)
    assert best is not None  # there is at least one number
    return best


def _is_grouped(convolution: onnx.NodeProto) -> bool:
    return any(attribute.name == "group" and attribute.i > 1 for attribute in convolution.attribute)


def _numbers(convolutions: int) -> Iterator[int]:
    """How many convolutions to leave in float32: none, then twice as many each time."""
    yield 0
    number = 1
    while number <= _MOST_IN_FLOAT * convolutions:
        yield number
        number *= 2


def _ranges(model: Path, patches: Sequence[NDArray[np.float32]], folder: Path) -> TensorsData:
    calibrator = create_calibrator(model, _OPERATORS, str(folder / "augmented.onnx"))
    calibrator.collect_data(_Reader(patches))
    return calibrator.compute_data()


def _quantized(model: Path, nodes: Sequence[str], ranges: TensorsData, stored: Sequence[str] = ()) -> bytes:
    """Quantise some convolutions, and store the weights of others in 8 bit."""
    seven_bit = True  # of weights: CPUs without VNNI add two products in 16 bit, which more would saturate
    quantizer = QDQQuantizer(
        onnx.load(model), True, seven_bit, QuantType.QInt8, QuantType.QUInt8, ranges, list(nodes), [], _OPERATORS, {}
    )
    quantizer.quantize_model()
    content: bytes = with_8_bit_weights(quantizer.model.model, stored).SerializeToString()
    return content


def _ranked(
    model: Path,
    nodes: Sequence[str],
    ranges: TensorsData,
    reference: OnnxNetwork,
    patches: Sequence[NDArray[np.float32]],
) -> list[str]:
    """Order the convolutions by the error of the logits where they alone are quantised, the worst first."""
    expected = [reference(patch) for patch in patches]
    errors = {}
    for node in nodes:
        network = OnnxNetwork(_quantized(model, [node], ranges), "cpu", model.name)
        errors[node] = sum(float(np.square(network(x) - y).mean()) for x, y in zip(patches, expected, strict=True))
    return sorted(nodes, key=errors.__getitem__, reverse=True)


class _Reader(CalibrationDataReader):
    def __init__(self, patches: Sequence[NDArray[np.float32]]) -> None:
        self._patches = iter(patches)

    def get_next(self) -> dict[str, Any] | None:
        patch = next(self._patches, None)
        return None if patch is None else {INPUT: patch}
