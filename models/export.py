"""From a fitted module to the files of a bundle."""

from __future__ import annotations

import logging
import warnings
from pathlib import Path

import onnx
import torch

from models import padim
from models.runtime.card import GRAPH_FILE, REFERENCE_FILE
from models.runtime.graph import INPUT, MAP, SCORE
from sightline.errors import DetectorError

OPSET = 20


def write(module: padim.Padim, input_size: int, folder: Path) -> None:
    """Write the ONNX graph and the reference weights into `folder`; raises DetectorError when the graph is unsound."""
    path = folder / GRAPH_FILE
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
            output_names=[MAP, SCORE],
            dynamic_shapes={"images": {0: torch.export.Dim("batch", min=1)}},
            opset_version=OPSET,
            external_data=False,
            dynamo=True,
            verbose=False,
        )
    try:
        onnx.checker.check_model(path, full_check=True)
    except (onnx.checker.ValidationError, onnx.shape_inference.InferenceError) as error:
        raise DetectorError(f"{path}: the exported graph is not valid ONNX: {error}") from error
    padim.save(module, folder / REFERENCE_FILE)
