"""Keeps a folder of detectors in step with the registry, away from the hot path.

A thread of the driver asks the registry every few seconds. A version that is new under the alias is fetched, tried in a
process of its own, and only then named in the pointer file that the workers watch. Whatever fails, the last good
champion stays, and other products are not held up. What failed its trial is refused for good; what could not be fetched
or tried to the end is tried again.
"""

from __future__ import annotations

import logging
import re
import subprocess
import sys
import threading
import time
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from models import registry
from models.registry import CHALLENGER, CHAMPION, RegisteredDetector
from models.registry_reader import RegistryReader
from models.runtime.card import load_card
from models.runtime.scorer import Backend, Precision
from models.runtime.view import View, check_maskable
from sightline.errors import DetectorError, RegistryError, SightlineError
from sightline.settings import RegistrySettings
from streaming.detectors import CHALLENGERS, CHAMPIONS, Bundle, read_pointer, write_pointer

log = logging.getLogger(__name__)

TRIAL_SECONDS = 60
ENGINE_SECONDS = 900
"""TensorRT builds its engine in the trial, and the workers find it in the cache."""
PATIENCE_SECONDS = 5.0
"""How long a start waits for the registry when an earlier run left a champion: MLflow itself gives up after minutes."""

LONGEST_PAUSE_SECONDS = 300.0
"""Between two tries of a version that could not be fetched or tried to the end; the first pause is that of a poll."""

POINTERS = {CHAMPION: CHAMPIONS, CHALLENGER: CHALLENGERS}
"""Pointer file of each alias that can be mirrored."""


class UndecidedError(SightlineError):
    """A trial ended without an answer: it was not ready in time, or it was killed."""


@dataclass(frozen=True, slots=True)
class _Pause:
    """Until when, on the monotonic clock, a version is not tried again, for how long and why."""

    until: float
    seconds: float
    reason: str


class Mirror:
    """Mirrors the detectors with one alias, of every product, into `folder`.

    A champion stays until another takes its place, for someone must judge; a challenger goes with its alias. Detectors
    that could not apply the masks of `views` are refused.
    """

    def __init__(
        self,
        folder: Path,
        settings: RegistrySettings,
        backend: Backend,
        precision: Precision = "fp32",
        *,
        alias: str = CHAMPION,
        views: Iterable[View] = (),
        reader: RegistryReader | None = None,
    ) -> None:
        self._folder = folder.absolute()
        self._pointer = self._folder / POINTERS[alias]
        self._settings, self._registry = settings, reader or RegistryReader()
        self._backend, self._precision = backend, precision
        self._seconds = ENGINE_SECONDS if backend == "tensorrt" else TRIAL_SECONDS
        self._alias = alias
        self._views = tuple(views)
        self._refused: dict[tuple[str, str], str] = {}
        self._paused: dict[tuple[str, str], _Pause] = {}
        self._asked, self._stop = threading.Event(), threading.Event()
        self._thread: threading.Thread | None = None

    def follow(self) -> None:
        """Mirror in the background, at once and then every so often; nothing waits, and no detector need be there."""
        self._thread = threading.Thread(target=self._run, name=self._pointer.stem, daemon=True)
        self._thread.start()

    def require(self) -> None:
        """Wait until the registry was first asked, so that the first frame finds its detector.

        Where an earlier run left one, only for a moment: a registry that is away must not hold the line up. Raises
        DetectorError when neither gives one.
        """
        self._asked.wait(PATIENCE_SECONDS if _mirrored(self._pointer) else None)
        if not _mirrored(self._pointer):
            refused = "".join(f"; refused: {reason}" for reason in self._refused.values())
            refused += "".join(f"; tried again: {pause.reason}" for pause in self._paused.values())
            raise DetectorError(
                f"no {self._alias} in {self._settings.tracking_uri}: train a detector with `sightline train`, "
                f"or give one the alias `{self._alias}` with `sightline promote`{refused}"
            )

    def stop(self) -> None:
        """End the background thread; returns when it has ended."""
        self._stop.set()
        if self._thread:
            self._thread.join(timeout=self._seconds)

    @property
    def refused(self) -> int:
        """Versions that were refused since the start."""
        return len(self._refused)

    def sync(self) -> None:
        """Take over every detector that changed; raises RegistryError when the registry cannot be asked."""
        current = _mirrored(self._pointer)
        wanted = self._registry.named(self._alias, self._settings)
        taken = {name: bundle for name, bundle in current.items() if self._alias == CHAMPION or name in wanted}
        versions = {(detector.name, detector.version) for detector in wanted.values()}
        self._paused = {version: pause for version, pause in self._paused.items() if version in versions}
        for product, detector in wanted.items():
            known = current.get(product)
            if known and (known.version, known.digest) == (detector.version, detector.digest):
                continue
            if bundle := self._fetch(detector):
                taken[product] = bundle
            elif self._alias == CHALLENGER:
                taken.pop(product, None)
        if taken != current:
            write_pointer(self._pointer, taken)
            for product, bundle in taken.items():
                if current.get(product) != bundle:
                    log.info("%s changed", self._alias, extra={"product": product, "detector": bundle.version})
                    self._prune(product)

    def _run(self) -> None:
        while not self._stop.is_set():
            try:
                self.sync()
            except (RegistryError, DetectorError, OSError) as error:
                log.warning("%ss not updated, the last ones stay", self._alias, extra={"error": str(error)})
            finally:
                self._asked.set()
            self._stop.wait(self._settings.poll_seconds)

    def _fetch(self, detector: RegisteredDetector) -> Bundle | None:
        """The bundle on disk after its trial; None when it is refused, which is said once a version, or has to wait."""
        version = (detector.name, detector.version)
        pause = self._paused.get(version)
        if version in self._refused or (pause and time.monotonic() < pause.until):
            return None
        facts = {"product": detector.product, "detector": detector.version}
        stays = ", the last good one stays" if self._alias == CHAMPION else ""
        try:
            folder = self._registry.fetch(detector, self._place(detector), self._settings)
            card = load_card(folder)
            check_maskable(card, self._views)
            if card.self_test is None:
                log.warning("%s has no self-test pictures: its verdicts are not compared", self._alias, extra=facts)
            self._try(folder)
        except DetectorError as error:
            self._refused[version] = str(error)
            self._paused.pop(version, None)
            log.error("%s refused%s", self._alias, stays, extra=facts | {"error": str(error)})
            return None
        except (RegistryError, UndecidedError, OSError) as error:
            seconds = min(2 * pause.seconds if pause else self._settings.poll_seconds, LONGEST_PAUSE_SECONDS)
            self._paused[version] = _Pause(time.monotonic() + seconds, seconds, str(error))
            facts |= {"error": str(error), "again_in_s": f"{seconds:g}"}
            log.warning("%s not fetched or not tried to the end%s", self._alias, stays, extra=facts)
            return None
        self._paused.pop(version, None)
        return Bundle(name=detector.name, version=detector.version, digest=detector.digest, folder=str(folder))

    def _place(self, detector: RegisteredDetector) -> Path:
        """Where the bundle lies; raises DetectorError for names of the registry that would lead elsewhere."""
        if not re.fullmatch("[0-9a-f]{64}", detector.digest):
            raise DetectorError(
                f"{detector.name} version {detector.version} has the digest {detector.digest!r}, which is none; "
                "register it again with `sightline train`"
            )
        return self._folder / registry.check_product(detector.product) / detector.digest

    def _try(self, folder: Path) -> None:
        """Load and self-check the bundle in another process: a crash or a hang there costs nothing here.

        Raises DetectorError when it fails, UndecidedError when a busy or full host may be to blame.
        """
        command = [sys.executable, "-m", "streaming.trial", str(folder), self._backend, self._precision]
        try:
            done = subprocess.run(command, capture_output=True, text=True, timeout=self._seconds, check=False)
        except subprocess.TimeoutExpired:
            raise UndecidedError(f"{folder} was not ready within {self._seconds} s") from None
        if done.returncode < 0:
            raise UndecidedError(f"the trial of {folder} was ended by signal {-done.returncode}")
        if done.returncode != 0:
            said = done.stderr.strip().splitlines() or [f"exit code {done.returncode}"]
            raise DetectorError(f"{folder} failed its trial: {said[-1]}")

    def _prune(self, product: str) -> None:
        """Bounded disk: the newest few bundles of a product stay, for a roll-back without a download."""
        pointers = (_mirrored(self._folder / name) for name in POINTERS.values())
        in_use = {Path(bundles[product].folder) for bundles in pointers if product in bundles}
        registry.prune(self._folder / product, in_use)


def _mirrored(pointer: Path) -> dict[str, Bundle]:
    """What a pointer file names; nothing where it is damaged, for whatever it named can be had again."""
    try:
        return read_pointer(pointer)
    except DetectorError as error:
        log.warning("pointer file not read", extra={"error": str(error)})
        return {}
