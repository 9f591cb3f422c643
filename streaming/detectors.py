"""The detectors of one worker process, kept in step with the champions that the driver mirrors.

The driver writes each product's bundle under a folder that all workers see, then replaces `champions.json` in one step
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

POINTER = "champions.json"


@dataclass(frozen=True, slots=True, kw_only=True)
class Champion:
    """A product's detector in force, and the folder of its bundle."""

    name: str
    version: str
    digest: str
    folder: str

    @property
    def ref(self) -> DetectorRef:
        return DetectorRef(name=self.name, version=self.version, digest=self.digest)


def read_champions(folder: Path) -> dict[str, Champion]:
    """Champion of each product; empty when none was mirrored yet. Raises DetectorError on a damaged file."""
    try:
        return msgspec.json.decode((folder / POINTER).read_bytes(), type=dict[str, Champion])
    except FileNotFoundError:
        return {}
    except msgspec.DecodeError as error:
        raise DetectorError(f"{folder / POINTER} is damaged ({error}); delete it, the driver writes it anew") from error


def write_champions(folder: Path, champions: dict[str, Champion]) -> None:
    """Replace the pointer file in one step, so that no reader ever sees half of it."""
    folder.mkdir(parents=True, exist_ok=True)
    fresh = folder / f".{POINTER}.{os.getpid()}"
    fresh.write_bytes(msgspec.json.encode(champions, order="deterministic"))
    fresh.replace(folder / POINTER)


@dataclass(frozen=True, slots=True)
class Loaded:
    """A detector ready to score, and how inspections name it."""

    scorer: Scorer
    ref: DetectorRef


class DetectorSet:
    """One loaded detector per product; a bundle that does not load leaves the last good one in place."""

    def __init__(self, folder: Path, load: Callable[[Path], Scorer]) -> None:
        self._folder = folder
        self._load = load
        self._stamp: int | None = None
        self._loaded: dict[str, Loaded] = {}

    def refresh(self) -> None:
        """Load what changed since the last call; a call without change costs one `stat`."""
        try:
            stamp = (self._folder / POINTER).stat().st_mtime_ns
        except FileNotFoundError:
            return
        if stamp == self._stamp:
            return
        try:
            champions = read_champions(self._folder)
        except DetectorError as error:
            log.error("champions not read", extra={"error": str(error)})
            return
        self._stamp = stamp
        for product, champion in champions.items():
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

    def _take(self, product: str, champion: Champion) -> None:
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
