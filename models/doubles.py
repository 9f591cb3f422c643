"""A detector for tests and benchmarks: its anomaly map is the brightness, so its verdicts can be foretold."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper

from models.runtime.card import GRAPH_FILE, LATENCY_BUDGET_MS, DetectorCard
from models.runtime.decode import decode
from models.runtime.interpret import verdict
from models.runtime.self_test import Example, encoded, save_self_test

SIDE = 64
CELLS = 8
_PICTURES = {"dark": 40, "bright": 250}


def write_brightness_bundle(
    folder: Path, product: str = "washer", threshold: float = 200.0, review_threshold: float = 150.0
) -> DetectorCard:
    """Fill `folder` with a bundle whose map is the mean brightness 0…255 of each of 8 × 8 cells, its score the highest.

    Takes uint8 [N, 64, 64, 3]; has no torch reference. Its self-test is a dark picture and a bright one.
    """
    folder.mkdir(parents=True, exist_ok=True)
    card = DetectorCard(
        name=f"sightline.{product}",
        product=product,
        method="brightness",
        input_height=SIDE,
        input_width=SIDE,
        color_order="RGB",
        map_rows=CELLS,
        map_cols=CELLS,
        threshold=threshold,
        review_threshold=review_threshold,
        map_scale=255.0,
        calibration={"method": "given"},
        metrics={},
        data_digest="none",
        run_id=None,
        created_at=datetime(2026, 1, 1, tzinfo=UTC),
        parameters={"threshold": threshold},
        latency_budget_ms=LATENCY_BUDGET_MS,
    )
    onnx.save(_graph(), str(folder / GRAPH_FILE))
    return save_self_test([_example(name, grey, card) for name, grey in _PICTURES.items()], card, folder)


def _example(name: str, grey: int, card: DetectorCard) -> Example:
    """A plain picture, whose score is its grey."""
    plain = encoded(np.full((SIDE, SIDE, 3), grey, np.uint8))
    score = float(decode(plain, SIDE, SIDE).image.mean())
    return Example(name=name, jpeg=plain, score=score, verdict=verdict(score, card))


def _graph() -> onnx.ModelProto:
    cell = SIDE // CELLS
    nodes = [
        helper.make_node("Cast", ["images"], ["float"], to=TensorProto.FLOAT),
        helper.make_node("ReduceMean", ["float", "channel"], ["grey"], keepdims=0),
        helper.make_node("Unsqueeze", ["grey", "one"], ["planes"]),
        helper.make_node("AveragePool", ["planes"], ["pooled"], kernel_shape=[cell, cell], strides=[cell, cell]),
        helper.make_node("Squeeze", ["pooled", "one"], ["anomaly_map"]),
        helper.make_node("ReduceMax", ["anomaly_map", "cells"], ["score"], keepdims=0),
    ]
    constants = [
        helper.make_tensor("channel", TensorProto.INT64, [1], [3]),
        helper.make_tensor("one", TensorProto.INT64, [1], [1]),
        helper.make_tensor("cells", TensorProto.INT64, [2], [1, 2]),
    ]
    graph = helper.make_graph(
        nodes,
        "brightness",
        [helper.make_tensor_value_info("images", TensorProto.UINT8, ["N", SIDE, SIDE, 3])],
        [
            helper.make_tensor_value_info("anomaly_map", TensorProto.FLOAT, ["N", CELLS, CELLS]),
            helper.make_tensor_value_info("score", TensorProto.FLOAT, ["N"]),
        ],
        constants,
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    onnx.checker.check_model(model)
    return model
