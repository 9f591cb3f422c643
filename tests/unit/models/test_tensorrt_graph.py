# ruff: noqa: N815  # the names are NVIDIA's
"""What can be known of the TensorRT runtime without a GPU: its refusals, its cache, and how a batch travels.

`Cuda` and `tensorrt` here stand for NVIDIA's modules; `tests/gpu` runs the real ones.
"""

from __future__ import annotations

import ctypes
import os
import sys
from collections.abc import Callable
from enum import Enum
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import pytest

from models.doubles import write_brightness_bundle
from models.runtime import cuda_memory, tensorrt_graph
from models.runtime.card import GRAPH_FILE, load_card
from models.runtime.engine_cache import EngineCache
from models.runtime.graph import Run, detector_contract
from models.runtime.scorer import BundleScorer, load_scorer
from sightline.errors import DetectorError, PrerequisiteError


class Status(Enum):
    cudaSuccess = 0
    cudaErrorNoDevice = 100


class Cuda:
    """The calls of the CUDA runtime that are made, on memory of the host."""

    cudaError_t = Status
    cudaHostAllocDefault = 0
    cudaMemcpyKind = SimpleNamespace(cudaMemcpyHostToDevice=1, cudaMemcpyDeviceToHost=2)

    def __init__(self, devices: int = 1) -> None:
        self.devices = devices
        self._kept: list[Any] = []

    def cudaGetDeviceCount(self) -> tuple[Status, int]:
        return (Status.cudaSuccess, self.devices) if self.devices else (Status.cudaErrorNoDevice, 0)

    def cudaGetErrorString(self, status: Status) -> tuple[Status, bytes]:
        return Status.cudaSuccess, b"no CUDA-capable device is detected"

    def cudaGetDeviceProperties(self, device: int) -> tuple[Status, Any]:
        return Status.cudaSuccess, SimpleNamespace(name=b"NVIDIA L4", major=8, minor=9)

    def cudaStreamCreate(self) -> tuple[Status, int]:
        return Status.cudaSuccess, 7

    def cudaStreamSynchronize(self, stream: int) -> tuple[Status]:
        return (Status.cudaSuccess,)

    def cudaMalloc(self, size: int) -> tuple[Status, int]:
        self._kept.append(ctypes.create_string_buffer(size))
        return Status.cudaSuccess, ctypes.addressof(self._kept[-1])

    def cudaHostAlloc(self, size: int, flags: int) -> tuple[Status, int]:
        return self.cudaMalloc(size)

    def cudaMemcpyAsync(self, to: int, source: int, size: int, kind: int, stream: int) -> tuple[Status]:
        ctypes.memmove(to, source, size)
        return (Status.cudaSuccess,)


def tensorrt(builds: list[str], *, loads: Callable[[bytes], bool] = lambda engine: True) -> ModuleType:
    """A TensorRT whose engines give each picture's mean as its score; `builds` notes the profile of each build."""
    trt: Any = ModuleType("tensorrt")
    trt.__version__ = "11.2.1.2"

    class Logger:
        Severity = SimpleNamespace(INTERNAL_ERROR=0, ERROR=1, WARNING=2)

    class Context:
        def __init__(self) -> None:
            self.addresses: dict[str, int] = {}
            self.batches: list[int] = []

        def set_tensor_address(self, name: str, address: int) -> bool:
            self.addresses[name] = address
            return True

        def set_input_shape(self, name: str, shape: tuple[int, ...]) -> bool:
            self.shape = shape
            return True

        def execute_async_v3(self, stream: int) -> bool:
            count = self.shape[0]
            self.batches.append(count)
            images = (ctypes.c_uint8 * int(np.prod(self.shape))).from_address(self.addresses["images"])
            means = np.ctypeslib.as_array(images).reshape(count, -1).mean(1).astype(np.float32)
            scores = (ctypes.c_float * count).from_address(self.addresses["score"])
            np.ctypeslib.as_array(scores)[:] = means
            maps = (ctypes.c_float * (count * 64)).from_address(self.addresses["anomaly_map"])
            np.ctypeslib.as_array(maps).reshape(count, 64)[:] = means[:, None]
            return True

    ports = {
        "images": ("IN", np.uint8, (-1, 64, 64, 3)),
        "anomaly_map": ("OUT", np.float32, (-1, 8, 8)),
        "score": ("OUT", np.float32, (-1,)),
    }

    class Engine:
        num_io_tensors = len(ports)

        def __init__(self) -> None:
            trt.context = Context()

        def get_tensor_name(self, index: int) -> str:
            return list(ports)[index]

        def get_tensor_mode(self, name: str) -> str:
            return ports[name][0]

        def get_tensor_dtype(self, name: str) -> type:
            return ports[name][1]

        def get_tensor_shape(self, name: str) -> tuple[int, ...]:
            return ports[name][2]

        def create_execution_context(self) -> Context:
            return trt.context  # type: ignore[no-any-return]

    class Builder:
        def __init__(self, logger: Logger) -> None:
            self.profile: dict[str, Any] = {}

        def create_network(self, flags: int) -> None:
            return None

        def create_builder_config(self) -> Any:
            nothing: Callable[..., None] = lambda *given: None  # noqa: E731
            return SimpleNamespace(set_memory_pool_limit=nothing, clear_flag=nothing, add_optimization_profile=nothing)

        def create_optimization_profile(self) -> Any:
            return SimpleNamespace(set_shape=lambda name, *shapes: self.profile.update({name: shapes}))

        def build_serialized_network(self, network: None, config: Any) -> bytes:
            builds.append(str([shape[0] for shape in self.profile["images"]]))
            return b"engine %d" % len(builds)

    trt.ILogger = Logger
    trt.Builder = Builder
    trt.OnnxParser = lambda network, logger: SimpleNamespace(parse=lambda graph: True)
    trt.Runtime = lambda logger: SimpleNamespace(
        deserialize_cuda_engine=lambda engine: Engine() if loads(engine) else None
    )
    trt.NetworkDefinitionCreationFlag = SimpleNamespace(STRONGLY_TYPED=1)
    trt.MemoryPoolType = SimpleNamespace(WORKSPACE=0)
    trt.BuilderFlag = SimpleNamespace(TF32=0)
    trt.TensorIOMode = SimpleNamespace(INPUT="IN")
    trt.nptype = lambda dtype: dtype
    found: ModuleType = trt
    return found


@pytest.fixture
def bundle_folder(tmp_path: Path) -> Path:
    write_brightness_bundle(tmp_path / "bundle")
    return tmp_path / "bundle"


@pytest.fixture
def opened(bundle_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Run]:
    """Opens the bundle on a given TensorRT, with one cache for the whole test."""
    monkeypatch.setattr(cuda_memory, "load_runtime", lambda: Cuda())

    def open_on(trt: ModuleType, max_batch: int = 16) -> Run:
        monkeypatch.setitem(sys.modules, "tensorrt", trt)
        contract = detector_contract(load_card(bundle_folder))
        return tensorrt_graph.open_graph(
            bundle_folder / GRAPH_FILE, contract, max_batch, EngineCache(tmp_path / "engines"), "fp32"
        )

    return open_on


def test_without_the_library_the_package_to_install_is_named(
    bundle_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("tensorrt", "tensorrt_bindings"):
        monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(PrerequisiteError, match=r"needs TensorRT 11, which cannot be imported .*sightline\[gpu\]"):
        load_scorer(bundle_folder, "tensorrt")


def test_an_older_tensorrt_is_refused(bundle_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    old = tensorrt([])
    old.__version__ = "10.16.1"  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "tensorrt", old)
    with pytest.raises(PrerequisiteError, match=r"TensorRT is 10\.16\.1, backend tensorrt needs 11"):
        load_scorer(bundle_folder, "tensorrt")


def test_without_a_gpu_the_driver_is_named(bundle_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "tensorrt", tensorrt([]))
    monkeypatch.setattr(cuda_memory, "load_runtime", lambda: Cuda(devices=0))
    with pytest.raises(
        PrerequisiteError, match=r"NVIDIA GPU and its driver.*no CUDA-capable device is detected.*nvidia"
    ):
        load_scorer(bundle_folder, "tensorrt")


def test_an_engine_is_built_once_for_one_to_the_largest_batch(opened: Callable[..., Run]) -> None:
    builds: list[str] = []
    opened(tensorrt(builds))
    opened(tensorrt(builds))
    opened(tensorrt(builds), max_batch=8)
    assert builds == ["[1, 16, 16]", "[1, 8, 8]"]


def test_an_engine_that_tensorrt_does_not_take_back_is_built_anew(opened: Callable[..., Run]) -> None:
    builds: list[str] = []
    opened(tensorrt(builds))
    opened(tensorrt(builds, loads=lambda engine: engine != b"engine 1"))
    assert len(builds) == 2
    with pytest.raises(DetectorError, match="cannot load the engine that it built for NVIDIA L4"):
        opened(tensorrt(builds, loads=lambda engine: False))


def test_frames_travel_in_batches_that_the_engine_takes_and_come_back_in_order(
    opened: Callable[..., Run], bundle_folder: Path
) -> None:
    trt = tensorrt([])
    scorer = BundleScorer(load_card(bundle_folder), opened(trt))
    images = np.broadcast_to(np.arange(37, dtype=np.uint8)[:, None, None, None], (37, 64, 64, 3))
    scores = scorer.score(images)
    np.testing.assert_array_equal(scores.scores, np.arange(37))
    np.testing.assert_array_equal(scores.maps[:, 3, 5], np.arange(37))
    assert trt.context.batches == [16, 16, 5]  # type: ignore[attr-defined]


def test_a_detector_loaded_before_a_fork_says_so(opened: Callable[..., Run], monkeypatch: pytest.MonkeyPatch) -> None:
    run = opened(tensorrt([]))
    monkeypatch.setattr(os, "getpid", lambda: -1)
    with pytest.raises(RuntimeError, match="loaded before this process was forked"):
        run(np.zeros((1, 64, 64, 3), np.uint8))


@pytest.mark.parametrize(("backend", "precision"), [("onnxruntime", "fp16"), ("tensorrt", "bf16"), ("torch", "bf16")])
def test_a_precision_that_a_backend_lacks_is_refused(bundle_folder: Path, backend: Any, precision: Any) -> None:
    with pytest.raises(DetectorError, match=f"backend {backend} does not compute in {precision}, only in fp32"):
        load_scorer(bundle_folder, backend, precision=precision)
