"""From a fitted module to the files of a bundle."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path

import onnx
import torch
from torch import nn

from models import reference
from models.detector import Detector
from models.runtime.card import GRAPH_FILE, REFERENCE_FILE
from models.runtime.graph import INPUT, MAP, SCORE
from sightline.errors import DetectorError

OPSET = 20


def write(detector: Detector, input_size: int, folder: Path) -> None:
    """Write the ONNX graph and the reference weights into `folder`; raises DetectorError when the graph is unsound."""
    grid = detector.features.settings.grid
    write_graph(detector, input_size, folder / GRAPH_FILE, {MAP: (grid, grid), SCORE: ()})
    reference.save(detector, folder / REFERENCE_FILE)


def write_graph(module: nn.Module, input_size: int, path: Path, outputs: Mapping[str, Sequence[int]]) -> None:
    """Write `module`, which takes uint8 [N, input_size, input_size, 3], as an ONNX graph.

    `outputs` names what it gives and the sizes after N, which alone stays free. Raises DetectorError when the graph is
    unsound.
    """
    logging.getLogger("torch.onnx").setLevel(logging.ERROR)
    # two images, because the exporter takes a size of one for a constant
    example = torch.zeros((2, input_size, input_size, 3), dtype=torch.uint8)
    with warnings.catch_warnings():
        # the exporter warns about its own internals, nothing that a person can act on; the graph is checked below
        warnings.simplefilter("ignore")
        torch.onnx.export(
            module.eval(),
            (example,),
            path,
            input_names=[INPUT],
            output_names=list(outputs),
            dynamic_axes={name: {0: "batch"} for name in (INPUT, *outputs)},
            opset_version=OPSET,
            # the exporter by tracing takes half a second where the newer one takes a dozen, for the same graph
            dynamo=False,
        )
    _fix_sizes(path, outputs)
    try:
        onnx.checker.check_model(path, full_check=True)
    except (onnx.checker.ValidationError, onnx.shape_inference.InferenceError) as error:
        raise DetectorError(f"{path}: the exported graph is not valid ONNX: {error}") from error


def _fix_sizes(path: Path, outputs: Mapping[str, Sequence[int]]) -> None:
    """Write the outputs' sizes into the graph: only the batch is free, but the exporter leaves all open."""
    model = onnx.load(path)
    for port in model.graph.output:
        for size, value in zip(port.type.tensor_type.shape.dim[1:], outputs[port.name], strict=True):
            size.dim_value = value
    onnx.save(model, path)
