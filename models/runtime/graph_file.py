"""What a graph file is, read from its bytes alone: a runtime should see ONNX and nothing that hides elsewhere.

A bundle's digest covers the graph file, so weights that lie in another file could be exchanged unseen; runtimes would
read them without a word. This walks the file's protobuf fields (onnx.proto3: ModelProto, GraphProto, TensorProto,
AttributeProto), so that the online path needs no `onnx`.
"""

from __future__ import annotations

from collections.abc import Iterator
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

# field numbers of onnx.proto3
_MODEL_GRAPH = 7
_GRAPH_NODE, _GRAPH_INITIALIZER = 1, 5
_NODE_ATTRIBUTE = 5
_ATTRIBUTE_TENSOR, _ATTRIBUTE_GRAPH, _ATTRIBUTE_TENSORS, _ATTRIBUTE_GRAPHS = 5, 6, 10, 11
_TENSOR_EXTERNAL_DATA, _TENSOR_DATA_LOCATION = 13, 14


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
        graphs = [value for field, value in _fields(data) if field == _MODEL_GRAPH]
        outside = any(_has_external_data(graph) for graph in graphs)
    except (IndexError, ValueError) as error:
        raise DetectorError(
            f"{path} is not an ONNX graph, or only a part of one ({len(data)} bytes); fetch the bundle again"
        ) from error
    if not graphs:
        raise DetectorError(f"{path} is not an ONNX graph: it holds none; export the detector again")
    if outside:
        raise DetectorError(
            f"{path} keeps weights in another file (external data), which the bundle's digest does not cover: save the "
            "model with all weights inside, or export the detector again"
        )


def _has_external_data(graph: memoryview) -> bool:
    for field, value in _fields(graph):
        if field == _GRAPH_INITIALIZER and _is_external(value):
            return True
        if field == _GRAPH_NODE and any(
            _attribute_has_external_data(attribute) for number, attribute in _fields(value) if number == _NODE_ATTRIBUTE
        ):
            return True
    return False


def _attribute_has_external_data(attribute: memoryview) -> bool:
    for field, value in _fields(attribute):
        if field in (_ATTRIBUTE_TENSOR, _ATTRIBUTE_TENSORS) and _is_external(value):
            return True
        if field in (_ATTRIBUTE_GRAPH, _ATTRIBUTE_GRAPHS) and _has_external_data(value):
            return True
    return False


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
