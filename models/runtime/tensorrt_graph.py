"""Graphs on NVIDIA GPUs by TensorRT 11: built once for a GPU, kept, and run on one CUDA stream.

Since TensorRT 11 networks are strongly typed: the builder flags that let it lower precision by itself are gone, and
each tensor has the type that the graph gives it (NVIDIA, "Migrating from TensorRT 10.x to 11.x"). So `fp16` casts the
graph's backbone before it is parsed, and INT8 is whatever the graph's own Q/DQ nodes say.
"""

from __future__ import annotations

import hashlib
import importlib
import logging
import os
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from models.runtime import cuda_memory
from models.runtime.cuda_memory import Buffer
from models.runtime.engine_cache import EngineCache, EngineKey
from models.runtime.graph import INPUT, Contract, Images, Ports, Run, check_ports
from sightline.errors import DetectorError, PrerequisiteError

log = logging.getLogger(__name__)

FloatType = Literal["fp32", "fp16"]

OPTIMAL_BATCH = 16
"""Batch that kernels are chosen for; one image and the largest batch run too."""

MAJOR = 11
_WORKSPACE = 1 << 30
"""Bytes of GPU memory that a layer may use while it computes."""
_NAMES = ("tensorrt", "tensorrt_bindings")
"""Modules that carry the Python API: that of `pip install tensorrt`, and that of the bindings by themselves."""


def open_graph(path: Path, contract: Contract, max_batch: int, cache: EngineCache, precision: FloatType) -> Run:
    """The ONNX graph at `path` as an engine for up to `max_batch` images, from `cache` or built now.

    To be called in the process that will score: a CUDA context does not survive a fork. Raises PrerequisiteError naming
    what this machine lacks, DetectorError for a graph that cannot be built or does not fit its contract.
    """
    trt = load_tensorrt()
    cudart = cuda_memory.load_runtime()
    gpu = cuda_memory.first_gpu(cudart)
    logger = _logger(trt)
    graph = path.read_bytes()
    key = EngineKey(
        gpu=gpu.name,
        capability=gpu.capability,
        tensorrt=trt.__version__,
        precision=precision,
        graph=hashlib.sha256(graph).hexdigest(),
        max_batch=max_batch,
    )

    def build() -> bytes:
        log.info("building a TensorRT engine, which takes minutes", extra={"path": str(path), "gpu": gpu.name})
        return build_engine(trt, logger, path, contract, precision, max_batch)

    runtime = trt.Runtime(logger)
    engine = runtime.deserialize_cuda_engine(cache.get(key, build))
    if engine is None:
        log.warning("TensorRT does not take its engine back, building it anew", extra={"path": str(path)})
        engine = runtime.deserialize_cuda_engine(cache.get(key, build, anew=True))
    if engine is None:
        raise DetectorError(
            f"{path}: TensorRT {trt.__version__} cannot load the engine that it built for {gpu.name}; see its messages "
            "above, or choose backend onnxruntime"
        )
    inputs, outputs = _ports(trt, engine)
    check_ports(path, contract, inputs, outputs)
    return _Session(cudart, engine, contract, max_batch)


def load_tensorrt() -> Any:
    """The Python API of TensorRT 11; raises PrerequisiteError when it, or its libraries, are not there."""
    said = []
    for name in _NAMES:
        try:
            module = importlib.import_module(name)
        except ImportError as error:  # also a library, such as libnvinfer, that the loader does not find
            said.append(str(error))
            continue
        version = str(module.__version__)
        if int(version.split(".")[0]) < MAJOR:
            raise PrerequisiteError(
                f"TensorRT is {version}, backend tensorrt needs {MAJOR} or newer: install `sightline[gpu]`"
            )
        return module
    raise PrerequisiteError(
        f"backend tensorrt needs TensorRT {MAJOR}, which cannot be imported ({'; '.join(said)}): install "
        "`sightline[gpu]`, or choose backend openvino"
    )


def typed_graph(path: Path, precision: FloatType) -> bytes:
    """The ONNX graph at `path` with the types that a strongly typed network is to have; raises DetectorError."""
    try:
        import onnx
    except ImportError as error:
        raise PrerequisiteError(
            f"backend tensorrt needs the package onnx ({error}): install `sightline[gpu]`"
        ) from error
    from models.runtime import onnx_rewriting

    try:
        model = onnx.load(path)
    except Exception as error:  # protobuf's errors have no common base but Exception
        raise DetectorError(f"{path} is not an ONNX graph: {error}; export it again") from error
    model = onnx_rewriting.cast_first(onnx_rewriting.folded(model))
    if precision == "fp16":
        model = onnx_rewriting.halved(model)
    serialised: bytes = model.SerializeToString()
    return serialised


def build_engine(trt: Any, logger: Any, path: Path, contract: Contract, precision: FloatType, max_batch: int) -> bytes:
    """A serialised engine for 1 to `max_batch` images; raises DetectorError with what TensorRT said."""
    builder = trt.Builder(logger)
    # TensorRT 11 knows no other kind and ignores the flag
    network = builder.create_network(1 << int(trt.NetworkDefinitionCreationFlag.STRONGLY_TYPED))
    parser = trt.OnnxParser(network, logger)
    if not parser.parse(typed_graph(path, precision)):
        faults = "; ".join(str(parser.get_error(index).desc()) for index in range(parser.num_errors))
        raise DetectorError(f"{path}: TensorRT does not take the graph: {faults}; choose backend onnxruntime")
    config = builder.create_builder_config()
    config.set_memory_pool_limit(trt.MemoryPoolType.WORKSPACE, _WORKSPACE)
    # ten bits of mantissa in float32 products would move scores away from those of the other runtimes
    config.clear_flag(trt.BuilderFlag.TF32)
    profile = builder.create_optimization_profile()
    _, shape = contract.inputs[INPUT]
    size = tuple(shape[1:])
    profile.set_shape(INPUT, (1, *size), (min(OPTIMAL_BATCH, max_batch), *size), (max_batch, *size))
    config.add_optimization_profile(profile)
    engine = builder.build_serialized_network(network, config)
    if engine is None:
        raise DetectorError(
            f"{path}: TensorRT {trt.__version__} could not build an engine; see its messages above, or choose backend "
            "onnxruntime"
        )
    return bytes(engine)


class _Session:
    """An engine with its buffers: one call at a time, in one process."""

    def __init__(self, cudart: Any, engine: Any, contract: Contract, max_batch: int) -> None:
        check = cuda_memory.checked(cudart)
        self._cudart = cudart
        self._engine = engine
        self._context = engine.create_execution_context()
        self._stream = check(cudart.cudaStreamCreate())
        self._process = os.getpid()
        self._max_batch = max_batch
        self._buffers = {
            name: Buffer(cudart, (max_batch, *(size or 1 for size in shape[1:])), dtype)
            for name, (dtype, shape) in {**contract.inputs, **contract.outputs}.items()
        }
        for name, buffer in self._buffers.items():
            self._context.set_tensor_address(name, buffer.device)
        self._outputs = tuple(contract.outputs)

    def __call__(self, images: Images) -> list[NDArray[np.float32]]:
        """Outputs of `images`, uint8 [N, H, W, 3] with N from 1 to the largest batch; valid until the next call."""
        if os.getpid() != self._process:
            raise RuntimeError("the detector was loaded before this process was forked; load it in the process itself")
        cudart, stream, count = self._cudart, self._stream, len(images)
        if not 1 <= count <= self._max_batch:
            raise ValueError(f"{count} images at once, the engine takes 1 to {self._max_batch}")
        given = self._buffers[INPUT]
        given.host[:count] = images
        given.send(cudart, count, stream)
        if not self._context.set_input_shape(INPUT, images.shape):
            raise RuntimeError(f"TensorRT does not take images of shape {images.shape}")
        if not self._context.execute_async_v3(int(stream)):
            raise RuntimeError("TensorRT could not start the computation; see its messages above")
        for name in self._outputs:
            self._buffers[name].fetch(cudart, count, stream)
        cuda_memory.checked(cudart)(cudart.cudaStreamSynchronize(stream))
        return [self._buffers[name].host[:count] for name in self._outputs]


def _ports(trt: Any, engine: Any) -> tuple[Ports, Ports]:
    inputs: dict[str, tuple[str, list[int | None]]] = {}
    outputs: dict[str, tuple[str, list[int | None]]] = {}
    for index in range(engine.num_io_tensors):
        name = engine.get_tensor_name(index)
        ports = inputs if engine.get_tensor_mode(name) == trt.TensorIOMode.INPUT else outputs
        dtype = np.dtype(trt.nptype(engine.get_tensor_dtype(name))).name
        ports[name] = (dtype, [size if size >= 0 else None for size in engine.get_tensor_shape(name)])
    return inputs, outputs


def _logger(trt: Any) -> Any:
    """TensorRT's messages in our log, from warnings up."""
    levels = {
        trt.ILogger.Severity.INTERNAL_ERROR: logging.CRITICAL,
        trt.ILogger.Severity.ERROR: logging.ERROR,
        trt.ILogger.Severity.WARNING: logging.WARNING,
    }

    class Logger(trt.ILogger):  # type: ignore[misc]  # TensorRT is not followed by mypy
        def __init__(self) -> None:
            trt.ILogger.__init__(self)

        def log(self, severity: Any, message: str) -> None:
            if severity in levels:
                log.log(levels[severity], message)

    return Logger()
