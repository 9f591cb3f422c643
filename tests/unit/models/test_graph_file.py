"""Weights outside the graph file are found wherever ONNX lets them lie."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from models.doubles import write_brightness_bundle
from models.runtime import graph_file
from models.runtime.card import GRAPH_FILE
from models.runtime.graph_file import check_graph_file
from models.runtime.scorer import load_scorer
from sightline.errors import DetectorError


def inside() -> onnx.TensorProto:
    return helper.make_tensor("weights", TensorProto.FLOAT, [2], [1.0, 2.0])


def outside() -> onnx.TensorProto:
    tensor = TensorProto(name="weights", data_type=TensorProto.FLOAT, dims=[2], data_location=TensorProto.EXTERNAL)
    tensor.external_data.add(key="location", value="weights.bin")
    return tensor


def sparse(values: onnx.TensorProto) -> onnx.SparseTensorProto:
    indices = helper.make_tensor("indices", TensorProto.INT64, [2], [0, 3])
    return helper.make_sparse_tensor(values, indices, [4])


def constant(tensor: onnx.TensorProto) -> onnx.NodeProto:
    return helper.make_node("Constant", [], ["constant"], value=tensor)


def graph_of(nodes: list[onnx.NodeProto]) -> onnx.GraphProto:
    return helper.make_graph(nodes, "inner", [], [])


def function(nodes: list[onnx.NodeProto]) -> onnx.FunctionProto:
    return helper.make_function("own", "Own", [], ["constant"], nodes, [helper.make_opsetid("", 18)])


def with_default(tensor: onnx.TensorProto) -> onnx.FunctionProto:
    made = function([])
    made.attribute_proto.append(helper.make_attribute("value", tensor))
    return made


Hide = Callable[[onnx.ModelProto, onnx.TensorProto], object]
PLACES: dict[str, Hide] = {
    "initializer": lambda model, one: model.graph.initializer.append(one),
    "sparse initializer": lambda model, one: model.graph.sparse_initializer.append(sparse(one)),
    "indices of a sparse initializer": lambda model, one: model.graph.sparse_initializer.add().indices.CopyFrom(one),
    "attribute": lambda model, one: model.graph.node.append(constant(one)),
    "attribute of many": lambda model, one: model.graph.node.append(helper.make_node("Any", [], [], many=[one])),
    "sparse attribute": lambda model, one: model.graph.node.append(
        helper.make_node("Constant", [], ["constant"], sparse_value=sparse(one))
    ),
    "sparse attribute of many": lambda model, one: model.graph.node.append(
        helper.make_node("Any", [], [], many=[sparse(one)])
    ),
    "branch": lambda model, one: model.graph.node.append(
        helper.make_node("If", ["yes"], ["out"], then_branch=graph_of([constant(one)]))
    ),
    "branch of many": lambda model, one: model.graph.node.append(
        helper.make_node("Any", [], [], many=[graph_of([constant(one)])])
    ),
    "function": lambda model, one: model.functions.append(function([constant(one)])),
    "branch of a function": lambda model, one: model.functions.append(
        function([helper.make_node("If", ["yes"], ["out"], then_branch=graph_of([constant(one)]))])
    ),
    "default of a function": lambda model, one: model.functions.append(with_default(one)),
    "training": lambda model, one: model.training_info.add().algorithm.CopyFrom(graph_of([constant(one)])),
    "start of a training": lambda model, one: model.training_info.add().initialization.initializer.append(one),
}


WITHOUT_TENSORS = {
    "DeviceConfigurationProto",
    "NodeDeviceConfigurationProto",
    "OperatorSetIdProto",
    "StringStringEntryProto",
    "TensorAnnotation",
    "TypeProto",
    "ValueInfoProto",
}
"""Messages of ONNX that say something of tensors, at most, and hold none."""


@pytest.fixture
def model(tmp_path: Path) -> onnx.ModelProto:
    write_brightness_bundle(tmp_path)
    return onnx.load(tmp_path / GRAPH_FILE)


@pytest.mark.parametrize("place", PLACES)
def test_weights_in_another_file_are_found(model: onnx.ModelProto, tmp_path: Path, place: str) -> None:
    path = tmp_path / "model.onnx"
    whole = onnx.ModelProto()
    whole.CopyFrom(model)
    PLACES[place](whole, inside())
    path.write_bytes(whole.SerializeToString())
    check_graph_file(path)
    PLACES[place](model, outside())
    path.write_bytes(model.SerializeToString())
    with pytest.raises(DetectorError, match=r"another file \(external data\)"):
        check_graph_file(path)


def test_no_message_that_may_hold_a_tensor_is_passed_over() -> None:
    found = {
        name: {
            part.number: part.message_type.name
            for part in getattr(onnx, name).DESCRIPTOR.fields
            if part.message_type and part.message_type.name not in WITHOUT_TENSORS
        }
        for name in graph_file._INSIDE
    }
    assert found == graph_file._INSIDE


def test_a_function_that_reads_another_file_is_not_run(model: onnx.ModelProto, tmp_path: Path) -> None:
    (tmp_path / "weights.bin").write_bytes(np.array([1.0, 2.0], np.float32).tobytes())
    model.functions.append(function([constant(outside())]))
    model.opset_import.append(helper.make_opsetid("own", 1))
    model.graph.node.append(helper.make_node("Own", [], ["unused"], domain="own"))
    onnx.save(model, tmp_path / GRAPH_FILE)
    with pytest.raises(DetectorError, match=r"another file \(external data\)"):
        load_scorer(tmp_path, "onnxruntime")


def test_a_field_number_that_readers_take_for_another_is_refused(model: onnx.ModelProto, tmp_path: Path) -> None:
    path = tmp_path / "model.onnx"
    graph = helper.make_graph([], "other", [], [], [outside()]).SerializeToString()
    # field 7, a graph, for a reader that keeps 32 bits of it
    tag = (7 << 3 | 2) + (1 << 32)
    path.write_bytes(model.SerializeToString() + varint(tag) + varint(len(graph)) + graph)
    with pytest.raises(DetectorError, match="is not an ONNX graph"):
        check_graph_file(path)


def varint(number: int) -> bytes:
    found = bytearray()
    while number > 0x7F:
        found.append(number & 0x7F | 0x80)
        number >>= 7
    return bytes([*found, number])


def test_graphs_that_are_nested_thousands_deep_are_walked(tmp_path: Path) -> None:
    graph = field(5, outside().SerializeToString())
    for _ in range(2000):
        graph = field(1, field(5, field(6, graph)))  # node, attribute, graph
    path = tmp_path / "model.onnx"
    path.write_bytes(field(7, graph))
    with pytest.raises(DetectorError, match=r"another file \(external data\)"):
        check_graph_file(path)


def field(number: int, content: bytes) -> bytes:
    return varint(number << 3 | 2) + varint(len(content)) + content
