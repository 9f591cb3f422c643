"""Graphs on ONNX Runtime's CPU provider."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime as ort
from numpy.typing import NDArray

from models.runtime.graph import INPUT, Contract, Images, Ports, Run, check_ports
from sightline.errors import DetectorError

_DTYPES = {"tensor(uint8)": "uint8", "tensor(float)": "float32"}
_ERRORS_ONLY = 3


def open_graph(path: Path, contract: Contract, threads: int) -> Run:
    """Open the ONNX file for `threads` threads; raises DetectorError when it does not fit its contract."""
    options = ort.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.log_severity_level = _ERRORS_ONLY
    # an idle worker must leave its core to Spark and the broker instead of spinning
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    try:
        session = ort.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    except Exception as error:  # onnxruntime raises classes of its own without a common base but Exception
        raise DetectorError(f"{path} is not a graph that ONNX Runtime reads: {error}; export it again") from error
    check_ports(path, contract, _ports(session.get_inputs()), _ports(session.get_outputs()))

    names = list(contract.outputs)

    def run(images: Images) -> list[NDArray[np.float32]]:
        found: list[NDArray[np.float32]] = session.run(names, {INPUT: images})
        return found

    return run


def _ports(ports: list[Any]) -> Ports:
    return {
        port.name: (_DTYPES.get(port.type, port.type), [size if isinstance(size, int) else None for size in port.shape])
        for port in ports
    }
