"""Weights in half precision or 8 bit, of networks that compute in float32."""

from __future__ import annotations

from collections.abc import Collection

import numpy as np
import onnx
from onnx import numpy_helper

_SMALLEST = 256
"""Tensors of fewer values, as biases and norms, stay as they are: they take no room."""


def with_half_weights(model: onnx.ModelProto) -> onnx.ModelProto:
    """Store the large weights in float16, and cast them to float32 where the network begins.

    ONNX Runtime folds the casts when it loads the file, so the network computes in float32, as fast as before.

    Args:
        model: In float32; it is changed.

    Returns:
        The same model.

    Raises:
        OverflowError: Weights that float16 can't hold.
    """
    graph = model.graph
    casts = []
    for tensor in graph.initializer:
        values = numpy_helper.to_array(tensor)
        if values.dtype != np.float32 or values.size < _SMALLEST:
            continue
        with np.errstate(over="ignore"):  # told below
            half = values.astype(np.float16)
        if not np.isfinite(half).all():
            raise OverflowError(f"{tensor.name} has values beyond those of float16")
        name = tensor.name
        tensor.CopyFrom(numpy_helper.from_array(half, f"{name}_half"))
        casts.append(onnx.helper.make_node("Cast", [f"{name}_half"], [name], to=onnx.TensorProto.FLOAT))
    for number, cast in enumerate(casts):
        graph.node.insert(number, cast)
    return model


def with_8_bit_weights(model: onnx.ModelProto, names: Collection[str]) -> onnx.ModelProto:
    """Store weights of convolutions in 8 bit with a scale for each output channel, and restore them at the beginning.

    ONNX Runtime does that when it loads the file, so the convolutions compute in float32, as fast as before.

    Args:
        model: In float32; it is changed.
        names: Of the weights, each `(K, C, ...)`.

    Returns:
        The same model.
    """
    graph = model.graph
    nodes, scales = [], []
    for tensor in graph.initializer:
        if tensor.name not in names:
            continue
        name, values = tensor.name, numpy_helper.to_array(tensor)
        largest = np.abs(values).max(axis=tuple(range(1, values.ndim)), keepdims=True)
        scale = np.where(largest > 0, largest / 127, 1).astype(np.float32)
        tensor.CopyFrom(numpy_helper.from_array(np.rint(values / scale).astype(np.int8), f"{name}_8_bit"))
        scales.append(numpy_helper.from_array(scale, f"{name}_scale"))
        nodes.append(onnx.helper.make_node("Cast", [f"{name}_8_bit"], [f"{name}_unscaled"], to=onnx.TensorProto.FLOAT))
        nodes.append(onnx.helper.make_node("Mul", [f"{name}_unscaled", f"{name}_scale"], [name]))
    graph.initializer.extend(scales)
    for number, node in enumerate(nodes):
        graph.node.insert(number, node)
    return model
