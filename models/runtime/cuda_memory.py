"""One CUDA stream and the buffers that frames and scores travel through, by NVIDIA's bindings `cuda-bindings`.

Host buffers are page-locked, so that copies run beside other work. Nothing here touches CUDA when it is imported: a
process that forks afterwards would hand its children a context that does not work.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from dataclasses import dataclass
from math import prod
from types import ModuleType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sightline.errors import PrerequisiteError


@dataclass(frozen=True, slots=True)
class Gpu:
    """The first GPU that this process sees; `capability` as 8.9."""

    name: str
    capability: str


def load_runtime() -> ModuleType:
    """The bindings of the CUDA runtime; raises PrerequisiteError when they are not installed."""
    try:
        from cuda.bindings import runtime
    except ImportError as error:
        raise PrerequisiteError(
            f"backend tensorrt needs the package cuda-bindings ({error}): install `sightline[gpu]`"
        ) from error
    found: ModuleType = runtime
    return found


def first_gpu(cudart: Any) -> Gpu:
    """The GPU that detectors run on; raises PrerequisiteError when there is no driver, or no GPU."""
    try:
        status, count = cudart.cudaGetDeviceCount()
    except RuntimeError as error:  # the bindings' own, when libcudart cannot be loaded
        raise PrerequisiteError(
            f"backend tensorrt needs the CUDA runtime, which cannot be loaded ({error}): install `sightline[gpu]`"
        ) from error
    if status != cudart.cudaError_t.cudaSuccess or count < 1:
        said = _text(cudart, status) if status != cudart.cudaError_t.cudaSuccess else "no device is visible"
        raise PrerequisiteError(
            f"backend tensorrt needs an NVIDIA GPU and its driver, and CUDA says: {said}. Install or update the driver "
            "until `nvidia-smi` lists the GPU and see that CUDA_VISIBLE_DEVICES shows it, or choose backend openvino"
        )
    check = checked(cudart)
    properties = check(cudart.cudaGetDeviceProperties(0))
    name = properties.name
    return Gpu(
        name.decode() if isinstance(name, bytes) else str(name), f"{int(properties.major)}.{int(properties.minor)}"
    )


def checked(cudart: Any) -> Callable[[Any], Any]:
    """A function that takes what a call of the bindings gives, and gives its value or raises RuntimeError."""

    def check(answer: Any) -> Any:
        status, *values = answer
        if status != cudart.cudaError_t.cudaSuccess:
            raise RuntimeError(f"CUDA: {_text(cudart, status)}")
        return values[0] if values else None

    return check


class Buffer:
    """Room for the largest batch of one tensor, page-locked on the host and on the device.

    `host` has the shape of the largest batch; `device` is an address. Both live as long as the process, as a detector
    does.
    """

    def __init__(self, cudart: Any, shape: tuple[int, ...], dtype: str) -> None:
        check = checked(cudart)
        self._item = np.dtype(dtype).itemsize * prod(shape[1:])
        size = shape[0] * self._item
        address = int(check(cudart.cudaHostAlloc(size, cudart.cudaHostAllocDefault)))
        raw = (ctypes.c_uint8 * size).from_address(address)
        self.host: NDArray[Any] = np.ctypeslib.as_array(raw).view(np.dtype(dtype)).reshape(shape)
        self.device = int(check(cudart.cudaMalloc(size)))
        self._address = address

    def send(self, cudart: Any, count: int, stream: Any) -> None:
        """Copy the first `count` items to the device, when the stream comes to it."""
        kind = cudart.cudaMemcpyKind.cudaMemcpyHostToDevice
        checked(cudart)(cudart.cudaMemcpyAsync(self.device, self._address, count * self._item, kind, stream))

    def fetch(self, cudart: Any, count: int, stream: Any) -> None:
        """Copy the first `count` items back, when the stream comes to it."""
        kind = cudart.cudaMemcpyKind.cudaMemcpyDeviceToHost
        checked(cudart)(cudart.cudaMemcpyAsync(self._address, self.device, count * self._item, kind, stream))


def _text(cudart: Any, status: Any) -> str:
    _, said = cudart.cudaGetErrorString(status)
    return said.decode() if isinstance(said, bytes) else str(said)
