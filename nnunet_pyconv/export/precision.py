"""Weights in half precision."""

from __future__ import annotations

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
        half = values.astype(np.float16)
        if not np.isfinite(half).all():
            raise OverflowError(f"{tensor.name} has values beyond those of float16")
        name = tensor.name
        tensor.CopyFrom(numpy_helper.from_array(half, f"{name}_half"))
        casts.append(onnx.helper.make_node("Cast", [f"{name}_half"], [name], to=onnx.TensorProto.FLOAT))
    for number, cast in enumerate(casts):
        graph.node.insert(number, cast)
    return model
