"""Checking an ONNX file before ONNX Runtime sees it, without the onnx package.

An ONNX file may name weights in other files, which would be read from wherever it says, and operators of libraries that
are loaded for it. Both are looked for in the protocol buffer itself (onnx.proto, whose field numbers are fixed).
"""

from __future__ import annotations

from collections.abc import Iterator

from nnunet_pyconv.runtime.errors import InputError

_MODEL_GRAPH, _MODEL_FUNCTIONS = 7, 25
_GRAPH_NODE, _GRAPH_INITIALIZER, _GRAPH_SPARSE = 1, 5, 15
_NODE_OPERATOR, _NODE_ATTRIBUTE, _NODE_DOMAIN = 4, 5, 7
_ATTRIBUTE_TENSORS, _ATTRIBUTE_GRAPHS = (5, 10), (6, 11)
_TENSOR_EXTERNAL, _TENSOR_LOCATION = 13, 14

_BYTES = 2  # the wire type of everything that has a length
_DEEPEST = 8


def check_onnx(content: bytes, where: str) -> None:
    """Refuse an ONNX file that refers to anything outside of itself.

    Args:
        content: The file.
        where: Its name, for the error message.

    Raises:
        InputError: Weights in other files, operators that are not ONNX's own, or no ONNX file.
    """
    try:
        for field, value in _fields(memoryview(content)):
            if field == _MODEL_FUNCTIONS:
                raise InputError(f"{where} defines functions of its own; expected ONNX's operators only")
            if field == _MODEL_GRAPH and isinstance(value, memoryview):
                _check_graph(value, where, _DEEPEST)
    except (IndexError, ValueError, UnicodeDecodeError) as error:
        if isinstance(error, InputError):
            raise
        raise InputError(f"{where} is no ONNX file, or is damaged ({error}); export the model again") from error


def _check_graph(graph: memoryview, where: str, depth: int) -> None:
    if depth == 0:
        raise InputError(f"{where} nests its graphs too deeply; expected a network that nnunet_pyconv export wrote")
    for field, value in _fields(graph):
        if not isinstance(value, memoryview):
            continue
        if field == _GRAPH_NODE:
            _check_node(value, where, depth)
        elif field == _GRAPH_INITIALIZER:
            _check_tensor(value, where)
        elif field == _GRAPH_SPARSE:
            raise InputError(f"{where} has sparse weights; expected a network that nnunet_pyconv export wrote")


def _check_node(node: memoryview, where: str, depth: int) -> None:
    operator = domain = ""
    for field, value in _fields(node):
        if not isinstance(value, memoryview):
            continue
        if field == _NODE_OPERATOR:
            operator = bytes(value).decode()
        elif field == _NODE_DOMAIN:
            domain = bytes(value).decode()
        elif field == _NODE_ATTRIBUTE:
            for inner, content in _fields(value):
                if isinstance(content, memoryview) and inner in _ATTRIBUTE_TENSORS:
                    _check_tensor(content, where)
                elif isinstance(content, memoryview) and inner in _ATTRIBUTE_GRAPHS:
                    _check_graph(content, where, depth - 1)
    if domain not in ("", "ai.onnx"):
        raise InputError(f"{where} has the operator {domain}::{operator}; expected ONNX's own operators only")


def _check_tensor(tensor: memoryview, where: str) -> None:
    for field, value in _fields(tensor):
        if field == _TENSOR_EXTERNAL or (field == _TENSOR_LOCATION and value != 0):
            raise InputError(f"{where} keeps weights in another file; expected all of them in itself")


def _fields(message: memoryview) -> Iterator[tuple[int, int | memoryview]]:
    """Go through a message of protocol buffers: number and value of each field, numbers of fixed width left out."""
    position = 0
    while position < len(message):
        key, position = _varint(message, position)
        field, wire = key >> 3, key & 7
        if wire == _BYTES:
            length, position = _varint(message, position)
            if position + length > len(message):
                raise ValueError("truncated")
            yield field, message[position : position + length]
            position += length
        elif wire == 0:
            value, position = _varint(message, position)
            yield field, value
        elif wire in (1, 5):
            position += 8 if wire == 1 else 4
        else:
            raise ValueError(f"wire type {wire}")


def _varint(message: memoryview, position: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = message[position]
        position += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, position
        shift += 7
        if shift > 63:
            raise ValueError("number too long")
