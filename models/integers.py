"""A graph whose convolutions compute in integers: post-training static quantisation with Q/DQ nodes.

By `onnxruntime.quantization`: unsigned activations with a zero point, signed weights with a scale for each output
channel (Krishnamoorthi 2018, arXiv:1806.08342). Ranges are those of 99.9 % of the values on pictures: scores were
nearer to those of the float graph than with the widest ones. Weights have 7 bits: on CPUs without VNNI, sums of 8 bit
products overflow the 16 bits that they are added up in, and runtimes would no longer agree.

Only what goes into a convolution is rounded, and paddings are part of their convolutions: runtimes then compute
convolution, activation and rounding in one step. Rounding results before their activation as well cost as much time as
the convolutions, and digits.

TensorRT takes the symmetric form alone: signed activations without a zero point, which have a bit less where nothing is
negative, and weights as floats that pass Q and DQ.
"""

from __future__ import annotations

import io
import logging
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, redirect_stdout
from pathlib import Path
from typing import Any

import onnx
import onnxruntime as ort
from numpy.typing import NDArray
from onnxruntime.quantization import CalibrationDataReader, CalibrationMethod, QuantFormat, QuantType, quantize_static

from models.runtime.onnx_rewriting import folded
from sightline.errors import DetectorError

PICTURES = 64
"""Good pictures that ranges are taken from, at most."""

_PERCENTILE = 99.9

Feed = Mapping[str, NDArray[Any]]
"""The inputs of a graph by name."""


def quantise(source: Path, target: Path, feeds: Iterable[Feed], below: str = "/", *, symmetric: bool = False) -> None:
    """Write the graph at `source` to `target` with the convolutions whose names start with `below` in integers.

    `symmetric` is the form for TensorRT, which other runtimes take too. Raises DetectorError where there are none.
    """
    model = _without_pads(folded(onnx.load(source)))
    convolutions = [node.name for node in model.graph.node if node.op_type == "Conv" and node.name.startswith(below)]
    if not convolutions:
        raise DetectorError(
            f"{source} has no convolutions below {below}: this backbone cannot be quantised; keep the detector in float"
        )
    with tempfile.TemporaryDirectory(prefix="sightline-int8-") as temporary, _silence():
        plain = Path(temporary) / "float.onnx"
        onnx.save(model, plain)
        quantize_static(
            str(plain),
            str(target),
            _Feeds(feeds),
            quant_format=QuantFormat.QDQ,
            per_channel=True,
            reduce_range=True,
            activation_type=QuantType.QInt8 if symmetric else QuantType.QUInt8,
            weight_type=QuantType.QInt8,
            nodes_to_quantize=convolutions,
            calibrate_method=CalibrationMethod.Percentile,
            extra_options={
                "ActivationSymmetric": symmetric,
                "WeightSymmetric": True,
                "QuantizeBias": False,
                "AddQDQPairToWeight": symmetric,
                "CalibPercentile": _PERCENTILE,
                "OpTypesToExcludeOutputQuantization": ["Conv"],
                # whatever the method: histograms grow by one picture after the other, not all in memory
                "CalibStridedMinMax": 1,
            },
        )
    onnx.checker.check_model(target, full_check=True)


def _without_pads(model: onnx.ModelProto) -> onnx.ModelProto:
    """`model` as ONNX Runtime simplifies it in standard operators: zeros that a Pad adds become the convolution's."""
    with tempfile.TemporaryDirectory(prefix="sightline-int8-") as temporary:
        simpler = Path(temporary) / "simpler.onnx"
        options = ort.SessionOptions()
        options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_ENABLE_BASIC
        options.optimized_model_filepath = str(simpler)
        ort.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
        found = onnx.load(simpler)
    # it names all domains that it knows, which other runtimes need not
    used = {node.domain for node in found.graph.node}
    domains = [domain for domain in found.opset_import if domain.domain in used]
    del found.opset_import[:]
    found.opset_import.extend(domains)
    return found


class _Feeds(CalibrationDataReader):  # type: ignore[misc]  # onnxruntime is not followed by mypy
    def __init__(self, feeds: Iterable[Feed]) -> None:
        self._feeds = list(feeds)
        self._next = iter(self._feeds)

    def __len__(self) -> int:
        return len(self._feeds)

    def set_range(self, start_index: int, end_index: int) -> None:
        self._next = iter(self._feeds[start_index:end_index])

    def get_next(self) -> Feed | None:
        return next(self._next, None)


@contextmanager
def _silence() -> Iterator[None]:
    """onnxruntime prints its progress, and recommends a pre-processing that `folded` stands for."""

    def no_advice(record: logging.LogRecord) -> bool:
        return "pre-processing before quantization" not in record.getMessage()

    logging.getLogger().addFilter(no_advice)
    try:
        with redirect_stdout(io.StringIO()):
            yield
    finally:
        logging.getLogger().removeFilter(no_advice)
