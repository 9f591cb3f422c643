"""A graph whose convolutions compute in integers: post-training static quantisation with Q/DQ nodes.

By `onnxruntime.quantization`: unsigned activations with a zero point, signed weights with a scale for each output
channel (Krishnamoorthi 2018, arXiv:1806.08342), ranges from pictures. Weights have 7 bits: on CPUs without VNNI, sums
of 8 bit products overflow the 16 bits that they are added up in, and runtimes would no longer agree.
"""

from __future__ import annotations

import logging
import tempfile
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import onnx
from numpy.typing import NDArray
from onnxruntime.quantization import CalibrationDataReader, CalibrationMethod, QuantFormat, QuantType, quantize_static

from models.runtime.onnx_rewriting import folded
from sightline.errors import DetectorError

PICTURES = 64
"""Good pictures that ranges are taken from, at most."""

Feed = Mapping[str, NDArray[Any]]
"""The inputs of a graph by name."""


def quantise(source: Path, target: Path, feeds: Iterable[Feed], below: str = "/") -> None:
    """Write the graph at `source` to `target` with the convolutions whose names start with `below` in integers.

    Raises DetectorError where there are none.
    """
    model = folded(onnx.load(source))
    convolutions = [node.name for node in model.graph.node if node.op_type == "Conv" and node.name.startswith(below)]
    if not convolutions:
        raise DetectorError(
            f"{source} has no convolutions below {below}: this backbone cannot be quantised; keep the detector in float"
        )
    with tempfile.TemporaryDirectory(prefix="sightline-int8-") as temporary:
        plain = Path(temporary) / "float.onnx"
        onnx.save(model, plain)
        # it recommends a pre-processing that `folded` stands for
        logging.getLogger().addFilter(_no_advice)
        try:
            quantize_static(
                str(plain),
                str(target),
                _Feeds(feeds),
                quant_format=QuantFormat.QDQ,
                per_channel=True,
                reduce_range=True,
                activation_type=QuantType.QUInt8,
                weight_type=QuantType.QInt8,
                nodes_to_quantize=convolutions,
                calibrate_method=CalibrationMethod.MinMax,
                extra_options={"WeightSymmetric": True, "QuantizeBias": False},
            )
        finally:
            logging.getLogger().removeFilter(_no_advice)
    onnx.checker.check_model(target, full_check=True)


class _Feeds(CalibrationDataReader):  # type: ignore[misc]  # onnxruntime is not followed by mypy
    def __init__(self, feeds: Iterable[Feed]) -> None:
        self._feeds = iter(feeds)

    def get_next(self) -> Feed | None:
        return next(self._feeds, None)


def _no_advice(record: logging.LogRecord) -> bool:
    return "pre-processing before quantization" not in record.getMessage()
