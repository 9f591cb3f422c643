"""Graphs on OpenVINO's CPU plugin."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import numpy as np
import openvino as ov
from numpy.typing import NDArray

from models.runtime.graph import INPUT, Contract, Images, Ports, Run, check_ports
from sightline.errors import DetectorError, PrerequisiteError

_DTYPES = {"u8": "uint8", "f32": "float32"}


def open_graph(path: Path, contract: Contract, threads: int, *, bf16: bool = False, callers: int = 1) -> Run:
    """Compile the ONNX file for `threads` threads, to compute in bfloat16 where asked.

    As many threads of Python as `callers` says may call what is returned at once; they share the weights and the
    `threads`. Raises DetectorError when it does not fit its contract, PrerequisiteError on a CPU without bfloat16.
    """
    core = ov.Core()
    if bf16 and "BF16" not in core.get_property("CPU", "OPTIMIZATION_CAPABILITIES"):
        raise PrerequisiteError(
            f"this CPU ({core.get_property('CPU', 'FULL_DEVICE_NAME')}) has no instructions for bfloat16: choose "
            "precision fp32"
        )
    try:
        model = core.read_model(path)
    except RuntimeError as error:
        said = " ".join(str(error).split())
        raise DetectorError(f"{path} is not a graph that OpenVINO reads: {said}; export it again") from error
    check_ports(path, contract, _ports(model.inputs), _ports(model.outputs))
    compiled = core.compile_model(
        model,
        "CPU",
        {
            # all threads serve one caller; several have a part of them each, so that none waits for another
            "PERFORMANCE_HINT": "LATENCY",
            "NUM_STREAMS": callers,
            "INFERENCE_NUM_THREADS": threads,
            # the plugin would choose bf16 by itself on CPUs with AMX, and scores must agree with the reference
            "INFERENCE_PRECISION_HINT": "bf16" if bf16 else "f32",
            # worker processes share the cores: pinning would put all of them on the first one
            "ENABLE_CPU_PINNING": False,
        },
    )
    own = threading.local()

    def run(images: Images) -> list[NDArray[np.float32]]:
        if not hasattr(own, "request"):
            own.request = compiled.create_infer_request()
        results = own.request.infer({INPUT: images}, share_inputs=True, share_outputs=True)
        return [results[name] for name in contract.outputs]

    return run


def _ports(ports: list[Any]) -> Ports:
    return {
        port.any_name: (
            _DTYPES.get(port.element_type.get_type_name(), port.element_type.get_type_name()),
            [size.get_length() if size.is_static else None for size in port.partial_shape],
        )
        for port in ports
    }
