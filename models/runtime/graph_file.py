"""What a graph file is, read from its bytes alone: a runtime should see ONNX and nothing that hides elsewhere.

A bundle's digest covers the graph file, so weights that lie in another file could be exchanged unseen; runtimes would
read them without a word. This walks the file's protobuf fields to wherever onnx.proto3 lets a tensor lie (graphs,
functions, attributes, sparse tensors, training), so that the online path needs no `onnx`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

from sightline.errors import DetectorError

_FOREIGN = {
    b"\x80": "a pickle",
    b"PK\x03\x04": "a zip archive, as PyTorch saves pickles",
    b"\x89HDF": "an HDF5 file",
    b"<": "an XML file, as OpenVINO's own models are",
}
_LENGTH = 2
"""Wire type of strings, bytes and messages."""

# names and field numbers of onnx.proto3
_INSIDE: Mapping[str, Mapping[int, str]] = {
    "ModelProto": {7: "GraphProto", 20: "TrainingInfoProto", 25: "FunctionProto"},
    "TrainingInfoProto": {1: "GraphProto", 2: "GraphProto"},
    "FunctionProto": {7: "NodeProto", 11: "AttributeProto"},
    "GraphProto": {1: "NodeProto", 5: "TensorProto", 15: "SparseTensorProto"},
    "NodeProto": {5: "AttributeProto"},
    "AttributeProto": {
        5: "TensorProto",
        6: "GraphProto",
        10: "TensorProto",
        11: "GraphProto",
        22: "SparseTensorProto",
        23: "SparseTensorProto",
    },
    "SparseTensorProto": {1: "TensorProto", 2: "TensorProto"},
}
"""Message to the fields in which a tensor may lie, at any depth, and their messages."""
_MODEL_GRAPH = 7
_TENSOR_EXTERNAL_DATA, _TENSOR_DATA_LOCATION = 13, 14
_HIGHEST_FIELD = (1 << 29) - 1


def check_graph_file(path: Path) -> None:
    """Raise DetectorError unless the file at `path` is ONNX with all its weights inside."""
    try:
        data = memoryview(path.read_bytes())
    except OSError as error:
        raise DetectorError(f"{path} cannot be read ({error.strerror or error}); fetch the bundle again") from error
    for magic, what in _FOREIGN.items():
        if bytes(data[: len(magic)]) == magic:
            raise DetectorError(
                f"{path} is {what}, not an ONNX graph: it is not opened; export the detector with `sightline train`"
            )
    try:
        has_graph = any(field == _MODEL_GRAPH for field, _ in _fields(data))
        outside = any(_is_external(tensor) for tensor in _tensors(data))
    except (IndexError, ValueError) as error:
        raise DetectorError(
            f"{path} is not an ONNX graph, or only a part of one ({len(data)} bytes); fetch the bundle again"
        ) from error
    if not has_graph:
        raise DetectorError(f"{path} is not an ONNX graph: it holds none; export the detector again")
    if outside:
        raise DetectorError(
            f"{path} keeps weights in another file (external data), which the bundle's digest does not cover: save the "
            "model with all weights inside, or export the detector again"
        )


def _tensors(model: memoryview) -> Iterator[memoryview]:
    """Every tensor of a model; without recursion, as a hostile file may nest graphs thousands deep."""
    waiting = [("ModelProto", model)]
    while waiting:
        name, message = waiting.pop()
        if name == "TensorProto":
            yield message
            continue
        inside = _INSIDE[name]
        waiting += [(inside[field], value) for field, value in _fields(message) if field in inside]


def _is_external(tensor: memoryview) -> bool:
    return any(
        field == _TENSOR_EXTERNAL_DATA or (field == _TENSOR_DATA_LOCATION and value[0] != 0)
        for field, value in _fields(tensor)
    )


def _fields(message: memoryview) -> Iterator[tuple[int, memoryview]]:
    """Number and bytes of each field, a number as it is on the wire; IndexError where the message breaks off."""
    place = 0
    while place < len(message):
        tag, place = _varint(message, place)
        if not 0 < tag >> 3 <= _HIGHEST_FIELD:
            # protobuf's own reader drops the bits beyond 32, and would see another field
            raise ValueError(f"field {tag >> 3} is none of protobuf's")
        start, kind = place, tag & 7
        if kind == 0:
            _, place = _varint(message, place)
        elif kind == _LENGTH:
            size, start = _varint(message, place)
            place = start + size
        elif kind in (1, 5):
            place += 8 if kind == 1 else 4
        else:
            raise ValueError(f"wire type {kind} is not one of protobuf's")
        if place > len(message):
            raise IndexError("the message breaks off")
        yield tag >> 3, message[start:place]


def _varint(message: memoryview, place: int) -> tuple[int, int]:
    """The number at `place` and where it ends."""
    value = shift = 0
    while True:
        byte = message[place]
        value |= (byte & 0x7F) << shift
        place, shift = place + 1, shift + 7
        if byte < 0x80:
            return value, place
        if shift > 63:
            raise ValueError("a number of more than 64 bits")
