"""From a fitted module to the files of a bundle."""

from __future__ import annotations

import logging
import warnings
from pathlib import Path

import onnx
import torch

from models import reference
from models.detector import Detector
from models.runtime.card import GRAPH_FILE, REFERENCE_FILE
from models.runtime.graph import INPUT, MAP, SCORE
from sightline.errors import DetectorError

OPSET = 20


def write(detector: Detector, input_size: int, folder: Path) -> None:
    """Write the ONNX graph and the reference weights into `folder`; raises DetectorError when the graph is unsound."""
    path = folder / GRAPH_FILE
    logging.getLogger("torch.onnx").setLevel(logging.ERROR)
    # two images, because the exporter takes a size of one for a constant
    example = torch.zeros((2, input_size, input_size, 3), dtype=torch.uint8)
    with warnings.catch_warnings():
        # the exporter warns about its own internals, nothing that a person can act on; the graph is checked below
        warnings.simplefilter("ignore")
        torch.onnx.export(
            detector.eval(),
            (example,),
            path,
            input_names=[INPUT],
            output_names=[MAP, SCORE],
            dynamic_axes={name: {0: "batch"} for name in (INPUT, MAP, SCORE)},
            opset_version=OPSET,
            # the exporter by tracing takes half a second where the newer one takes a dozen, for the same graph
            dynamo=False,
        )
    _fix_sizes(path, detector.features.settings.grid)
    try:
        onnx.checker.check_model(path, full_check=True)
    except (onnx.checker.ValidationError, onnx.shape_inference.InferenceError) as error:
        raise DetectorError(f"{path}: the exported graph is not valid ONNX: {error}") from error
    reference.save(detector, folder / REFERENCE_FILE)


def _fix_sizes(path: Path, grid: int) -> None:
    """Write the map's rows and columns into the graph: only the batch is free, but the exporter leaves all open."""
    model = onnx.load(path)
    for port in model.graph.output:
        for size in port.type.tensor_type.shape.dim[1:]:
            size.dim_value = grid
    onnx.save(model, path)
