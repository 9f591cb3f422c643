"""The registered detectors as the API sees them: asked for once in a few seconds, loaded when a picture needs one."""

from __future__ import annotations

import json
import threading
import time
from collections import OrderedDict
from http import HTTPStatus
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

from console.api.problems import Problem, not_found
from sightline.contracts import DetectorRef
from sightline.errors import RegistryError
from sightline.settings import RegistrySettings

if TYPE_CHECKING:
    from console.api.batching import Batcher
    from models.registry import RegisteredDetector, RegistryEntry
    from models.runtime.card import DetectorCard

CHAMPION = "champion"
_LIST = "see `GET /v1/detectors`"


class Registry(Protocol):
    """What of `models.registry` is used here; a test may put something else in its place."""

    def entries(self, settings: RegistrySettings) -> list[RegistryEntry]: ...
    def set_champion(self, product: str, version: str, settings: RegistrySettings) -> RegisteredDetector: ...
    def roll_back(self, product: str, settings: RegistrySettings) -> RegisteredDetector: ...
    def fetch(self, detector: RegisteredDetector, folder: Path, settings: RegistrySettings) -> Path: ...


class LoadedDetector(NamedTuple):
    """A detector that pictures can be given to."""

    card: DetectorCard
    ref: DetectorRef
    batcher: Batcher


class Catalogue:
    """Versions, champions and bundles; all methods may take as long as the registry does, and any thread may call.

    When the registry is away, what it said last still holds for judging pictures.
    """

    def __init__(
        self, settings: RegistrySettings, folder: Path, *, loaded: int, threads: int, registry: Registry | None = None
    ) -> None:
        """`registry` is `models.registry` unless another is given; bundles are kept below `folder`."""
        self._settings = settings
        self._registry = registry or _registry()
        self._folder = folder / "detectors"
        self._most = loaded
        self._threads = threads
        self._lock = threading.Lock()
        self._loading = threading.Lock()
        self._loaded: OrderedDict[str, LoadedDetector] = OrderedDict()
        self._entries: list[RegistryEntry] = []
        self._asked = -float("inf")

    def entries(self, product: str | None = None) -> list[RegistryEntry]:
        """Every registered version, of one product where it is given; raises RegistryError."""
        found = self._registry.entries(self._settings)
        with self._lock:
            self._entries, self._asked = found, time.monotonic()
        return [entry for entry in found if product in (None, entry.detector.product)]

    def entry(self, product: str, version: str) -> RegistryEntry:
        """Raises Problem 404 when there is none, RegistryError when the registry is away."""
        return _chosen(self.entries(), product, version)

    def card(self, entry: RegistryEntry) -> dict[str, Any]:
        """The card in the bundle of `entry`; raises RegistryError or DetectorError."""
        from models.runtime.card import CARD_FILE

        card: dict[str, Any] = json.loads((self._bundle(entry.detector) / CARD_FILE).read_text())
        return card

    def promote(self, product: str, version: str) -> RegisteredDetector:
        """Make a version champion; raises Problem 404 when there is none, RegistryError."""
        self.entry(product, version)
        return self._changed(self._registry.set_champion(product, version, self._settings))

    def roll_back(self, product: str) -> RegisteredDetector:
        """The former champion again; raises Problem 404 for an unknown product, 409 when there was none before."""
        from models.registry import NoFormerChampionError

        if not self.entries(product):
            raise not_found("detector of product", product, _LIST)
        try:
            return self._changed(self._registry.roll_back(product, self._settings))
        except NoFormerChampionError as error:
            raise Problem(HTTPStatus.CONFLICT, "no-former-champion", str(error)) from error

    def loaded(self, product: str, version: str) -> LoadedDetector:
        """The detector of `product` with this version, or its champion, ready to score.

        Raises Problem 404 when there is none, RegistryError, DetectorError.
        """
        detector = _chosen(self._lately(), product, version).detector
        key = f"{detector.name}/{detector.version}/{detector.digest}"
        with self._loading:
            found = self._loaded.get(key)
            if found is None:
                found = self._load(detector)
                self._loaded[key] = found
                if len(self._loaded) > self._most:
                    self._loaded.popitem(last=False)[1].batcher.close()
            self._loaded.move_to_end(key)
            return found

    def close(self) -> None:
        """Let go of all detectors."""
        with self._loading:
            for found in self._loaded.values():
                found.batcher.close()
            self._loaded.clear()

    def _lately(self) -> list[RegistryEntry]:
        with self._lock:
            known, fresh = self._entries, time.monotonic() - self._asked < self._settings.poll_seconds
        if fresh:
            return known
        try:
            return self.entries()
        except RegistryError:
            if not known:
                raise
            with self._lock:
                self._asked = time.monotonic()
            return known

    def _changed(self, detector: RegisteredDetector) -> RegisteredDetector:
        with self._lock:
            self._asked = -float("inf")
        return detector

    def _load(self, detector: RegisteredDetector) -> LoadedDetector:
        from console.api.batching import Batcher
        from models.runtime.scorer import load_scorer

        # a thread for each picture is as fast as several threads for one, and nobody waits for the other
        scorer = load_scorer(self._bundle(detector), threads=self._threads, callers=self._threads)
        ref = DetectorRef(name=detector.name, version=detector.version, digest=detector.digest)
        return LoadedDetector(
            scorer.card, ref, Batcher(scorer, f"{detector.product}-{detector.version}", self._threads)
        )

    def _bundle(self, detector: RegisteredDetector) -> Path:
        return self._registry.fetch(detector, self._folder / detector.name / detector.version, self._settings)


def _registry() -> Registry:
    from models.registry_reader import RegistryReader

    return RegistryReader()


def _chosen(entries: list[RegistryEntry], product: str, version: str) -> RegistryEntry:
    of_product = [entry for entry in entries if entry.detector.product == product]
    if not of_product:
        known = ", ".join(sorted({entry.detector.product for entry in entries})) or "none"
        raise not_found("detector of product", product, f"known: {known}")
    for entry in of_product:
        if entry.detector.version == version or (version == CHAMPION and CHAMPION in entry.aliases):
            return entry
    known = ", ".join(entry.detector.version for entry in of_product)
    raise not_found(f"version of {product}", version, f"known: {known}")
