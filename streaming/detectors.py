"""The detectors of one worker process, kept in step with those that the driver mirrors.

The driver writes each product's bundle under a folder that all workers see, then replaces a pointer file in one step
(`streaming.champions`). A worker looks at that file's stamp once per micro-batch: no registry call, no lock.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import msgspec

from models.runtime.scorer import Scorer
from sightline.contracts import DetectorRef, Reason
from sightline.errors import DetectorError, FrameError

log = logging.getLogger(__name__)

CHAMPIONS = "champions.json"
"""Pointer file of the detectors whose verdicts count."""
CHALLENGERS = "challengers.json"
"""Pointer file of those that score beside them."""

Load = Callable[[Path], Scorer]
"""A bundle's folder to its scorer; raises DetectorError."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Bundle:
    """A product's registered detector, and the folder where it lies."""

    name: str
    version: str
    digest: str
    folder: str

    @property
    def ref(self) -> DetectorRef:
        return DetectorRef(name=self.name, version=self.version, digest=self.digest)


def read_pointer(path: Path) -> dict[str, Bundle]:
    """Bundle of each product; empty when none was mirrored yet. Raises DetectorError on a damaged file."""
    try:
        return msgspec.json.decode(path.read_bytes(), type=dict[str, Bundle])
    except FileNotFoundError:
        return {}
    except msgspec.DecodeError as error:
        raise DetectorError(f"{path} is damaged ({error}); the driver writes it anew") from error


def write_pointer(path: Path, bundles: dict[str, Bundle]) -> None:
    """Replace the pointer file in one step, so that no reader ever sees half of it, after a power failure neither."""
    path.parent.mkdir(parents=True, exist_ok=True)
    fresh = path.with_name(f".{path.name}.{os.getpid()}")
    with fresh.open("wb") as file:
        file.write(msgspec.json.encode(bundles, order="deterministic"))
        file.flush()
        os.fsync(file.fileno())
    fresh.replace(path)


class Pointer:
    """A pointer file as a reader follows it."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._stamp: int | None = None

    def changed(self) -> dict[str, Bundle] | None:
        """The bundles, when the file changed since the last call; without a change this costs one `stat`."""
        try:
            stamp = self._path.stat().st_mtime_ns
        except FileNotFoundError:
            return None
        if stamp == self._stamp:
            return None
        try:
            bundles = read_pointer(self._path)
        except DetectorError as error:
            log.error("pointer file not read", extra={"error": str(error)})
            return None
        self._stamp = stamp
        return bundles


@dataclass(frozen=True, slots=True)
class Loaded:
    """A detector ready to score, and how inspections name it."""

    scorer: Scorer
    ref: DetectorRef


class DetectorSet:
    """One loaded champion per product; a bundle that does not load leaves the last good one in place."""

    def __init__(self, folder: Path, load: Load) -> None:
        self._pointer = Pointer(folder / CHAMPIONS)
        self._load = load
        self._loaded: dict[str, Loaded] = {}

    def refresh(self) -> None:
        """Load what changed since the last call."""
        for product, champion in (self._pointer.changed() or {}).items():
            self._take(product, champion)

    def for_product(self, product: str) -> Loaded:
        """The detector in force for `product`; raises FrameError `no-detector`."""
        try:
            return self._loaded[product]
        except KeyError:
            known = ", ".join(sorted(self._loaded)) or "none"
            raise FrameError(
                Reason.NO_DETECTOR,
                f"no detector for product {product!r} (known: {known}); train one with `sightline train`",
            ) from None

    def _take(self, product: str, champion: Bundle) -> None:
        current = self._loaded.get(product)
        if current and current.ref == champion.ref:
            return
        try:
            scorer = self._load(Path(champion.folder))
        except DetectorError as error:
            log.error(
                "detector refused, the last good one stays",
                extra={"product": product, "detector": champion.version, "error": str(error)},
            )
            return
        self._loaded[product] = Loaded(scorer, champion.ref)
        log.info("detector in force", extra={"product": product, "detector": champion.version})
