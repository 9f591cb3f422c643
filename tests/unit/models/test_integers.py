"""Graphs in integers: what their Q/DQ nodes say, and that runtimes read the same out of them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import onnxruntime as ort
import openvino as ov
import pytest
from numpy.typing import NDArray
from onnx import numpy_helper

from models import integers
from models.runtime.card import GRAPH_FILE
from models.runtime.graph import INPUT
from models.runtime.onnx_rewriting import BACKBONE, cast_first, folded, is_quantised
from sightline.errors import DetectorError

Textures = Callable[[int, int], NDArray[np.uint8]]


@pytest.fixture(scope="module")
def quantised(bundle: Path, textures: Textures, tmp_path_factory: pytest.TempPathFactory) -> Path:
    target = tmp_path_factory.mktemp("int8") / GRAPH_FILE
    integers.quantise(
        bundle / GRAPH_FILE, target, ({INPUT: image[None]} for image in textures(8, 2)), BACKBONE, symmetric=True
    )
    return target


def test_zero_points_are_zero_and_weights_lie_between_nodes_that_round_them(quantised: Path) -> None:
    """TensorRT refuses zero points, and takes INT8 weights as floats that pass Q and DQ."""
    model = onnx.load(quantised)
    constants = {one.name: numpy_helper.to_array(one) for one in model.graph.initializer}
    rounding = [node for node in model.graph.node if node.op_type in ("QuantizeLinear", "DequantizeLinear")]
    assert rounding
    for node in rounding:
        zeros = constants[node.input[2]]
        assert zeros.dtype == np.int8
        assert not zeros.any()
    makers = {name: node for node in model.graph.node for name in node.output}
    convolutions = [node for node in model.graph.node if node.op_type == "Conv" and node.name.startswith(BACKBONE)]
    for node in convolutions:
        dequantise = makers[node.input[1]]
        quantise = makers[dequantise.input[0]]
        assert (quantise.op_type, dequantise.op_type) == ("QuantizeLinear", "DequantizeLinear")
        assert constants[quantise.input[0]].dtype == np.float32


def test_runtimes_agree_on_it(quantised: Path, textures: Textures) -> None:
    images = textures(6, 3)
    found = ort.InferenceSession(quantised, providers=["CPUExecutionProvider"]).run(["score"], {INPUT: images})[0]
    compiled = ov.Core().compile_model(ov.Core().read_model(quantised), "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    np.testing.assert_allclose(compiled({INPUT: images})["score"], found, rtol=0.1)


def test_what_tensorrt_is_given_still_carries_the_integers(quantised: Path) -> None:
    model = cast_first(folded(onnx.load(quantised)))
    assert is_quantised(model)
    assert [domain.domain for domain in model.opset_import] == [""]
    onnx.checker.check_model(model, full_check=True)


def test_a_graph_without_convolutions_is_refused(bundle: Path, tmp_path: Path) -> None:
    with pytest.raises(DetectorError, match="no convolutions below /nowhere/"):
        integers.quantise(bundle / GRAPH_FILE, tmp_path / GRAPH_FILE, [], "/nowhere/")


def test_nothing_is_rounded_between_a_convolution_and_its_activation(quantised: Path) -> None:
    """Runtimes compute convolution, activation and rounding in one step only where they follow each other."""
    nodes = onnx.load(quantised).graph.node
    dequantised = {name for node in nodes if node.op_type == "DequantizeLinear" for name in node.output}
    activations = [node for node in nodes if node.op_type == "Clip" and node.name.startswith(BACKBONE)]
    assert activations
    assert not any(dequantised.intersection(node.input) for node in activations)
    assert not any(node.op_type == "Pad" and node.name.startswith(BACKBONE) for node in nodes)
