"""ONNX graphs made ready for a runtime that wants types and sizes settled beforehand.

A detector's graph leaves only the number of images open, yet its exporter writes arithmetic for every padding and
reshape. `folded` replaces what does not depend on the images by its value, `halved` computes the backbone in float16,
and `cast_first` turns pixels into numbers before anything else is done with them.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import onnx
import onnxruntime as ort
from numpy.typing import NDArray
from onnx import NodeProto, TensorProto, helper, numpy_helper

from models.runtime.graph import INPUT
from sightline.errors import DetectorError

BACKBONE = "/features/backbone/"
"""Beginning of the names of the backbone's nodes: the exporter names a node after its module."""

QUANTISED = ("QuantizeLinear", "DequantizeLinear")

_SIZE_ONLY = ("Shape", "Size")
"""Operators whose results depend on the size of their input, not on its content."""
_NOT_HALVED = ("Cast", "Resize", "Shape", "Constant", "ConstantOfShape")
_IMAGE_RANK = 4


def is_quantised(model: onnx.ModelProto) -> bool:
    """Whether the graph carries Q/DQ nodes."""
    return any(node.op_type in QUANTISED for node in model.graph.node)


def folded(model: onnx.ModelProto) -> onnx.ModelProto:
    """A copy of `model` in which tensors that are the same for every picture and every number of them are constants.

    They are found by following the graph from its input, and their values by running it on one and on two black images:
    what differs depends on N and stays. Raises DetectorError when the graph cannot be run.
    """
    model = _copy(model)
    candidates = _independent(model)
    if not candidates:
        return model
    one, two = (_values(model, candidates, count) for count in (1, 2))
    constant = {
        name: one[name] for name in candidates if one[name].shape == two[name].shape and (one[name] == two[name]).all()
    }
    kept = [node for node in model.graph.node if not all(name in constant for name in node.output)]
    needed = {name for node in kept for name in node.input} | {port.name for port in model.graph.output}
    model.graph.initializer.extend(
        numpy_helper.from_array(value, name) for name, value in constant.items() if name in needed
    )
    _replace_nodes(model, kept)
    return pruned(model)


def pruned(model: onnx.ModelProto) -> onnx.ModelProto:
    """`model` without the nodes and initializers that no output needs; changed in place."""
    wanted = {port.name for port in model.graph.output}
    kept: list[NodeProto] = []
    for node in reversed(model.graph.node):
        if wanted.intersection(node.output):
            kept.append(node)
            wanted.update(node.input)
    initializers = [one for one in model.graph.initializer if one.name in wanted]
    _replace_nodes(model, reversed(kept))
    del model.graph.initializer[:]
    model.graph.initializer.extend(initializers)
    return model


def cast_first(model: onnx.ModelProto) -> onnx.ModelProto:
    """A copy of `model` that casts its uint8 images to float32 before anything else: TensorRT takes bytes nowhere else.

    Exact, because operators between input and cast only move pixels.
    """
    model = _copy(model)
    pixels = f"{INPUT}_float"
    for node in model.graph.node:
        node.input[:] = [pixels if name == INPUT else name for name in node.input]
    cast = helper.make_node("Cast", [INPUT], [pixels], to=TensorProto.FLOAT, name="/pixels")
    _replace_nodes(model, [cast, *model.graph.node])
    # sizes and types noted between input and cast would no longer hold
    del model.graph.value_info[:]
    return model


def halved(model: onnx.ModelProto) -> onnx.ModelProto:
    """A copy of `model` whose backbone computes in float16; what follows it, the head above all, stays in float32.

    Converters that choose by operator cast to float16 and back between any two nodes that they keep, which costs the
    head the digits that it is kept for; here each tensor that crosses the border is cast once. Raises DetectorError for
    a quantised graph, and for one without a backbone that can be told.
    """
    if is_quantised(model):
        raise DetectorError(
            "the graph is quantised to INT8 and runs as it is: choose precision fp32, or the detector it was made from"
        )
    model = onnx.shape_inference.infer_shapes(folded(model), strict_mode=True)
    chosen = _feature_maps(model)
    if not chosen:
        raise DetectorError(
            f"the graph has no nodes below {BACKBONE}, so nothing tells its backbone from its head: choose precision "
            "fp32, or export the detector again"
        )
    _halve(model, chosen)
    try:
        return onnx.shape_inference.infer_shapes(model, check_type=True, strict_mode=True)
    except onnx.shape_inference.InferenceError as error:
        raise DetectorError(f"the graph cannot be computed in float16: {error}; choose precision fp32") from error


def _halve(model: onnx.ModelProto, chosen: set[str]) -> None:
    """Compute the nodes named `chosen` in float16, with casts on the border."""
    initializers = {one.name: one for one in model.graph.initializer}
    inside = {name for node in model.graph.node if node.name in chosen for name in node.output}
    nodes: list[NodeProto] = []
    made: set[str] = set()

    def crossing(name: str, to: int) -> str:
        """The name of `name` in another type; the cast is added where it is needed first."""
        half = to == TensorProto.FLOAT16
        other = f"{name}_{'half' if half else 'float'}"
        if other not in made:
            made.add(other)
            if name in initializers:
                value = numpy_helper.to_array(initializers[name]).astype(np.float16)
                model.graph.initializer.append(numpy_helper.from_array(value, other))
            else:
                nodes.append(helper.make_node("Cast", [name], [other], to=to, name=f"/cast/{other}"))
        return other

    floats = _floats(model)
    for node in model.graph.node:
        if node.name in chosen:
            node.input[:] = [
                crossing(name, TensorProto.FLOAT16) if name in floats and name not in inside else name
                for name in node.input
            ]
        else:
            node.input[:] = [crossing(name, TensorProto.FLOAT) if name in inside else name for name in node.input]
        nodes.append(node)
    _replace_nodes(model, nodes)
    del model.graph.value_info[:]
    pruned(model)


def _feature_maps(model: onnx.ModelProto) -> set[str]:
    """Names of the backbone's nodes that make float feature maps and whose results leave the graph nowhere."""
    ranks = _ranks(model)
    outputs = {port.name for port in model.graph.output}
    return {
        node.name
        for node in model.graph.node
        if node.name.startswith(BACKBONE)
        and node.op_type not in _NOT_HALVED
        and ranks.get(node.output[0]) == _IMAGE_RANK
        and not outputs.intersection(node.output)
    }


def _ranks(model: onnx.ModelProto) -> dict[str, int]:
    """Number of axes of each float tensor that a node makes."""
    return {
        info.name: len(info.type.tensor_type.shape.dim)
        for info in model.graph.value_info
        if info.type.tensor_type.elem_type == TensorProto.FLOAT
    }


def _floats(model: onnx.ModelProto) -> set[str]:
    """Names of all float32 tensors: those of nodes and the initializers."""
    return {*_ranks(model), *(one.name for one in model.graph.initializer if one.data_type == TensorProto.FLOAT)}


def _independent(model: onnx.ModelProto) -> list[str]:
    """Tensors that depend on nothing but the sizes of others, in the graph's order."""
    from_pixels = {port.name for port in model.graph.input}
    found = []
    for node in model.graph.node:
        # weights between Q/DQ nodes stay integers: their value as a float would hide that they are
        moves_pixels = from_pixels.intersection(node.input) and node.op_type not in _SIZE_ONLY
        if moves_pixels or node.op_type in QUANTISED:
            from_pixels.update(node.output)
        else:
            found += [name for name in node.output if name]
    outputs = {port.name for port in model.graph.output}
    return [name for name in found if name not in outputs]


def _values(model: onnx.ModelProto, names: list[str], count: int) -> dict[str, NDArray[np.generic]]:
    """What the tensors `names` hold when `count` black images go in."""
    probe = _copy(model)
    probe.graph.output.extend(onnx.ValueInfoProto(name=name) for name in names)
    shape = [size.dim_value or count for size in model.graph.input[0].type.tensor_type.shape.dim]
    options = ort.SessionOptions()
    options.log_severity_level = 4
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    try:
        session = ort.InferenceSession(probe.SerializeToString(), options, providers=["CPUExecutionProvider"])
        dtype = onnx.helper.tensor_dtype_to_np_dtype(model.graph.input[0].type.tensor_type.elem_type)
        values = session.run(names, {model.graph.input[0].name: np.zeros(shape, dtype)})
    except Exception as error:  # onnxruntime raises classes of its own without a common base but Exception
        raise DetectorError(f"the graph cannot be run, so its sizes are not known: {error}; export it again") from error
    return dict(zip(names, values, strict=True))


def _copy(model: onnx.ModelProto) -> onnx.ModelProto:
    copied = onnx.ModelProto()
    copied.CopyFrom(model)
    return copied


def _replace_nodes(model: onnx.ModelProto, nodes: Iterable[NodeProto]) -> None:
    kept = [NodeProto.FromString(node.SerializeToString()) for node in nodes]
    del model.graph.node[:]
    model.graph.node.extend(kept)
