"""From torch to ONNX, with a check that both compute the same."""

from __future__ import annotations

import contextlib
import io
import re
import warnings
from collections.abc import Sequence
from pathlib import Path
from textwrap import shorten

import numpy as np
import onnx
import torch
from torch import nn

from nnunet_pyconv.errors import InputError
from nnunet_pyconv.runtime.network import INPUT, OUTPUT, OnnxNetwork

OPSET = 18
"""ONNX's operators of December 2022; every ONNX Runtime from 1.14 on knows them."""
TOLERANCE = 1e-3
"""Largest difference of logits between torch and ONNX Runtime in float32, as a share of their largest."""


def to_onnx(network: nn.Module, channels: int, patch_size: Sequence[int], file: Path) -> None:
    """Write a network as ONNX: any number of patches at a time, all of one size.

    Args:
        network: In evaluation mode, on the CPU.
        channels: Of its input.
        patch_size: Of its input.
        file: To write.

    Raises:
        InputError: A network that can't be written as ONNX.
    """
    batch = torch.export.Dim("batch", min=1, max=1024)
    patches = torch.zeros((2, channels, *patch_size))  # of 1, the exporter would make a constant
    printed = io.StringIO()
    try:
        with warnings.catch_warnings(), contextlib.redirect_stdout(printed), torch.no_grad():
            warnings.simplefilter("ignore")
            torch.onnx.export(
                network,
                (patches,),
                str(file),
                dynamo=True,
                external_data=False,
                verbose=False,
                input_names=[INPUT],
                output_names=[OUTPUT],
                dynamic_shapes=({0: batch},),
                opset_version=OPSET,
            )
        onnx.save(_without_origins(onnx.load(file)), file)
    except Exception as error:  # the exporter has a dozen classes of its own
        raise InputError(
            f"{type(network).__name__} can't be written as ONNX: {_operator_in(error)}; predict with nnUNetv2_predict, "
            "or train a network without it"
        ) from error


def _without_origins(model: onnx.ModelProto) -> onnx.ModelProto:
    """Remove where in the source each node comes from: paths of this machine, and more bytes than a small network."""
    for message in (model, model.graph, *model.graph.node, *model.graph.value_info, *model.graph.initializer):
        message.ClearField("metadata_props")
        message.ClearField("doc_string")
    return model


def difference_from_torch(network: nn.Module, content: bytes, channels: int, patch_size: Sequence[int]) -> float:
    """Compare ONNX Runtime's logits with torch's on a random patch.

    Returns:
        The largest difference, as a share of the largest logit.
    """
    patch = torch.randn((1, channels, *patch_size), generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        expected = network(patch).numpy()
    found = OnnxNetwork(content, "cpu", "the network just exported")(patch.numpy())
    return float(np.abs(found - expected).max() / max(float(np.abs(expected).max()), 1e-6))


def _operator_in(error: BaseException) -> str:
    """Name the operator that the exporter stumbled over, as far as its messages tell."""
    messages = []
    cause: BaseException | None = error
    while cause is not None:
        messages.append(str(cause))
        cause = cause.__cause__ or cause.__context__
    for message in messages[::-1]:
        if found := re.search(r"op='([\w.]+)'", message):
            return f"there is no ONNX operator for {found[1]}"
    return shorten(messages[-1], 300)
