"""Built TensorRT engines on disk: building one takes minutes, and it fits one GPU and one TensorRT only.

A file is one line of JSON, its key and the SHA-256 of what follows, and the engine itself. What does not match is
built anew.
"""

from __future__ import annotations

import fcntl
import hashlib
import logging
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import msgspec

from sightline.errors import PrerequisiteError

log = logging.getLogger(__name__)

MAX_ENGINES = 16
MAX_BYTES = 4 * 1024**3
"""Most engines, and most bytes of them, that are kept; the least recently used go first."""

_SUFFIX = ".engine"


class EngineKey(msgspec.Struct, frozen=True, kw_only=True):
    """What an engine is good for. `graph` is the SHA-256 of the detector's ONNX file, the part of its bundle's digest
    that an engine is made of: another threshold on the card needs no other engine.
    """

    gpu: str
    capability: str
    tensorrt: str
    precision: str
    graph: str
    max_batch: int

    @property
    def file_name(self) -> str:
        return hashlib.sha256(msgspec.json.encode(self)).hexdigest()[:32] + _SUFFIX


class _Header(msgspec.Struct, frozen=True):
    key: EngineKey
    sha256: str


class EngineCache:
    """Engines in one folder, safe to share between the processes of a machine."""

    def __init__(self, folder: Path, max_engines: int = MAX_ENGINES, max_bytes: int = MAX_BYTES) -> None:
        self._folder = folder
        self._max_engines = max_engines
        self._max_bytes = max_bytes

    def get(self, key: EngineKey, build: Callable[[], bytes], *, anew: bool = False) -> bytes:
        """The engine for `key`, built by `build` when it is absent, damaged or unwanted (`anew`).

        Of several processes that want the same one, one builds and the others wait. Raises PrerequisiteError when the
        folder cannot be written, and whatever `build` raises.
        """
        path = self._folder / key.file_name
        try:
            # an engine is code that the GPU's driver runs: nobody else may write it
            self._folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            with _locked(path.with_suffix(".lock")):
                engine = None if anew else _read(path, key)
                if engine is None:
                    engine = build()
                    _write(path, key, engine)
                    self._prune(keep=path)
                else:
                    os.utime(path)
                return engine
        except OSError as error:
            raise PrerequisiteError(
                f"TensorRT engines cannot be kept in {self._folder} ({error}); make room there, or set SIGHTLINE_RUN "
                "to a folder that can be written"
            ) from error

    def _prune(self, keep: Path) -> None:
        """Remove the least recently used engines until what is left is within bounds."""
        found = sorted(
            ((path.stat().st_mtime_ns, path.stat().st_size, path) for path in self._folder.glob(f"*{_SUFFIX}")),
            reverse=True,
        )
        count, size = 0, 0
        for _, own_size, path in found:
            count, size = count + 1, size + own_size
            if path != keep and (count > self._max_engines or size > self._max_bytes):
                path.unlink(missing_ok=True)
                path.with_suffix(".lock").unlink(missing_ok=True)


def _read(path: Path, key: EngineKey) -> bytes | None:
    """The engine in `path`; None, said in the log, when it is not what `key` and its own header promise."""
    try:
        head, _, engine = path.read_bytes().partition(b"\n")
    except FileNotFoundError:
        return None
    try:
        header = msgspec.json.decode(head, type=_Header)
    except (msgspec.DecodeError, UnicodeDecodeError):
        header = None
    if header is None or header.key != key or header.sha256 != hashlib.sha256(engine).hexdigest():
        log.warning("engine in the cache is damaged, building it anew", extra={"path": str(path)})
        return None
    return engine


def _write(path: Path, key: EngineKey, engine: bytes) -> None:
    """Replace the file in one step: no reader ever sees half an engine."""
    fresh = path.with_suffix(f".{os.getpid()}.part")
    try:
        with fresh.open("wb") as file:
            file.write(msgspec.json.encode(_Header(key, hashlib.sha256(engine).hexdigest())) + b"\n" + engine)
            file.flush()
            os.fsync(file.fileno())
        fresh.replace(path)
    finally:
        fresh.unlink(missing_ok=True)


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    with path.open("a") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
