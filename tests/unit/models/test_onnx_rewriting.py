from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from numpy.typing import NDArray
from onnx import TensorProto

from models.doubles import write_brightness_bundle
from models.runtime.card import GRAPH_FILE
from models.runtime.onnx_rewriting import BACKBONE, cast_first, folded, halved
from sightline.errors import DetectorError

Textures = Callable[[int, int], NDArray[np.uint8]]


@pytest.fixture(scope="module")
def model(bundle: Path) -> onnx.ModelProto:
    return onnx.load(bundle / GRAPH_FILE)


def run(model: onnx.ModelProto, images: NDArray[np.uint8]) -> list[NDArray[np.float32]]:
    session = ort.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    found: list[NDArray[np.float32]] = session.run(["anomaly_map", "score"], {"images": images})
    return found


@pytest.mark.parametrize("rewrite", [folded, cast_first])
def test_rewriting_changes_no_score_in_a_batch_of_any_size(
    model: onnx.ModelProto, textures: Textures, rewrite: Callable[[onnx.ModelProto], onnx.ModelProto]
) -> None:
    other = rewrite(model)
    onnx.checker.check_model(other, full_check=True)
    for count in (1, 5):
        images = textures(count, 3)
        for found, expected in zip(run(other, images), run(model, images), strict=True):
            np.testing.assert_array_equal(found, expected)


def test_folding_leaves_no_arithmetic_on_sizes_in_the_backbone(model: onnx.ModelProto) -> None:
    operators = Counter(node.op_type for node in folded(model).graph.node if node.name.startswith(BACKBONE))
    assert set(operators) <= {"Conv", "Clip", "Add", "Pad"}
    assert operators["Conv"] == sum(
        node.op_type == "Conv" for node in model.graph.node if node.name.startswith(BACKBONE)
    )


def test_bytes_become_floats_before_anything_else_happens_to_them(model: onnx.ModelProto) -> None:
    users = [node.op_type for node in cast_first(model).graph.node if "images" in node.input]
    assert users == ["Cast"]


def test_the_backbone_computes_in_half_precision_and_the_head_in_full(
    model: onnx.ModelProto, textures: Textures
) -> None:
    half = halved(model)
    types = {info.name: info.type.tensor_type.elem_type for info in half.graph.value_info}
    for node in half.graph.node:
        if node.op_type == "Conv":
            wanted = TensorProto.FLOAT16 if node.name.startswith(BACKBONE) else TensorProto.FLOAT
            assert types[node.output[0]] == wanted, node.name
    assert all(port.type.tensor_type.elem_type == TensorProto.FLOAT for port in half.graph.output)
    images = textures(4, 7)
    maps, scores = run(half, images)
    expected_maps, expected_scores = run(model, images)
    np.testing.assert_allclose(maps, expected_maps, rtol=0.02, atol=0.01)
    np.testing.assert_allclose(scores, expected_scores, rtol=0.01)
    assert not np.array_equal(scores, expected_scores)


def test_a_graph_without_a_backbone_is_not_guessed_at(tmp_path: Path) -> None:
    write_brightness_bundle(tmp_path)
    with pytest.raises(DetectorError, match=r"no nodes below /features/backbone/.*precision fp32"):
        halved(onnx.load(tmp_path / GRAPH_FILE))


def test_what_cannot_be_run_cannot_be_folded(model: onnx.ModelProto) -> None:
    broken = onnx.ModelProto()
    broken.CopyFrom(model)
    next(node for node in broken.graph.node if node.op_type == "Pad").op_type = "Blur"
    with pytest.raises(DetectorError, match=r"cannot be run.*Blur"):
        folded(broken)
