"""Model files of one convolution, written without torch and nnU-Net."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from nnunet_pyconv.export.package import write_package
from nnunet_pyconv.runtime.description import Description, Network, Normalization, Resampling

SPLINES = Resampling("resample_data_or_seg_to_shape", order=3, order_z=0)
DESCRIPTION = Description(
    name="Dataset001_Tiny/nnUNetTrainer__nnUNetPlans__2d",
    configuration="2d",
    precision="fp32",
    opset=18,
    networks=(Network("networks/fold_0.onnx", "0"),),
    channels=("EM",),
    file_ending=".png",
    reader="NaturalImage2DIO",
    transpose_forward=(0, 1, 2),
    transpose_backward=(0, 1, 2),
    spacing=(1.0, 1.0),
    patch_size=(8, 8),
    normalization=(Normalization("NoNormalization", False, 0, 1, 0, 1),),
    resample_image=SPLINES,
    resample_previous=Resampling("resample_data_or_seg_to_shape", is_seg=True, order=1),
    resample_logits=Resampling("resample_data_or_seg_to_shape", order=1),
    labels={"background": 0, "cell": 1},
    regions_class_order=None,
    mirror_axes=(0, 1),
    previous_stage=None,
    postprocessing=(),
    sha256={},
    versions={},
)
"""Of a network that calls a pixel a cell where it is above `THRESHOLD`."""
THRESHOLD = 100.0


def threshold_network(
    channels: int = 1, axes: int = 2, threshold: float = THRESHOLD, channel: int = 0
) -> onnx.ModelProto:
    """Logits (0, x - threshold) of one channel x."""
    weight = np.zeros((2, channels, *[1] * axes), np.float32)
    weight[1, channel] = 1
    parts = [numpy_helper.from_array(weight, "weight"), numpy_helper.from_array(np.float32([0, -threshold]), "bias")]
    size = ["batch", *"zyx"[-axes:]]
    graph = helper.make_graph(
        [helper.make_node("Conv", ["image", "weight", "bias"], ["logits"])],
        "threshold",
        [helper.make_tensor_value_info("image", TensorProto.FLOAT, [size[0], channels, *size[1:]])],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, [size[0], 2, *size[1:]])],
        parts,
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)


def write_model(file: Path, *networks: onnx.ModelProto | bytes, **changes: Any) -> Path:
    """Write a model file of one network, or of those given; changes are those of `DESCRIPTION`."""
    description = dataclasses.replace(DESCRIPTION, **changes)
    networks = networks or (threshold_network(len(description.channels), len(description.patch_size)),)
    folds = tuple(Network(f"networks/fold_{fold}.onnx", str(fold)) for fold in range(len(networks)))
    onnx_files = {}
    for fold, network in zip(folds, networks, strict=True):
        onnx_files[fold.file] = file.with_suffix(f".{fold.fold}.onnx")
        onnx_files[fold.file].write_bytes(network if isinstance(network, bytes) else network.SerializeToString())
    write_package(
        file,
        dataclasses.replace(description, networks=folds),
        onnx_files,
        plans={"plans_name": "nnUNetPlans"},
        dataset_json={"labels": dict(description.labels), "file_ending": description.file_ending},
        model_card="# Tiny\n",
        licence="none",
    )
    return file
