"""Keeps the folder of champions in step with the registry, away from the hot path.

The driver's thread asks the registry every few seconds. A new champion is fetched, tried in a process of its own, and
only then named in the pointer file that the workers watch. Whatever fails, the last good champion stays.
"""

from __future__ import annotations

import logging
import shutil
import subprocess
import sys
import threading
from pathlib import Path

from models import registry
from models.registry import RegisteredDetector
from models.runtime.scorer import Backend
from sightline.errors import DetectorError, RegistryError
from sightline.settings import RegistrySettings
from streaming.detectors import Champion, read_champions, write_champions

log = logging.getLogger(__name__)

TRIAL_SECONDS = 60
KEPT_BUNDLES = 3


class ChampionMirror:
    """Mirrors the champions of every product into `folder`."""

    def __init__(self, folder: Path, settings: RegistrySettings, backend: Backend) -> None:
        self._folder = folder.absolute()
        self._settings = settings
        self._backend = backend
        self._refused: set[tuple[str, str]] = set()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="champions", daemon=True)

    def start(self) -> None:
        """Mirror once, so that the first frame finds its detector, then keep on in the background.

        Raises DetectorError when neither the registry nor an earlier run gives a champion.
        """
        try:
            self.sync()
        except RegistryError as error:
            log.warning("registry unreachable, going on with the last champions", extra={"error": str(error)})
        if not read_champions(self._folder):
            raise DetectorError(
                f"no champion in {self._settings.tracking_uri}: train a detector with `sightline train`, "
                "or give one the alias `champion` with `sightline promote`"
            )
        self._thread.start()

    def stop(self) -> None:
        """End the background thread; returns when it has ended."""
        self._stop.set()
        if self._thread.is_alive():
            self._thread.join(timeout=TRIAL_SECONDS)

    def sync(self) -> None:
        """Take over every champion that changed; raises RegistryError when the registry cannot be asked."""
        current = read_champions(self._folder)
        wanted = registry.champions(self._settings)
        taken = dict(current)
        for product, detector in wanted.items():
            known = current.get(product)
            if known and (known.version, known.digest) == (detector.version, detector.digest):
                continue
            if champion := self._fetch(detector):
                taken[product] = champion
        if taken != current:
            write_champions(self._folder, taken)
            for product, champion in taken.items():
                if current.get(product) != champion:
                    log.info("champion changed", extra={"product": product, "detector": champion.version})
                    self._prune(product, keep=champion)

    def _run(self) -> None:
        while not self._stop.wait(self._settings.poll_seconds):
            try:
                self.sync()
            except (RegistryError, DetectorError, OSError) as error:
                log.warning("champions not updated, the last ones stay", extra={"error": str(error)})

    def _fetch(self, detector: RegisteredDetector) -> Champion | None:
        """The champion on disk after its trial; None when it was refused, which is said once a version."""
        refusal = (detector.name, detector.version)
        if refusal in self._refused:
            return None
        try:
            folder = registry.fetch(detector, self._folder / detector.product / detector.digest, self._settings)
            self._try(folder)
        except DetectorError as error:
            self._refused.add(refusal)
            log.error(
                "champion refused, the last good one stays",
                extra={"product": detector.product, "detector": detector.version, "error": str(error)},
            )
            return None
        return Champion(name=detector.name, version=detector.version, digest=detector.digest, folder=str(folder))

    def _try(self, folder: Path) -> None:
        """Load and self-check the bundle in another process: a crash or a hang there costs nothing here."""
        command = [sys.executable, "-m", "streaming.trial", str(folder), self._backend]
        try:
            done = subprocess.run(command, capture_output=True, text=True, timeout=TRIAL_SECONDS, check=False)
        except subprocess.TimeoutExpired:
            raise DetectorError(f"{folder} was not ready within {TRIAL_SECONDS} s") from None
        if done.returncode != 0:
            said = done.stderr.strip().splitlines() or [f"exit code {done.returncode}"]
            raise DetectorError(f"{folder} failed its trial: {said[-1]}")

    def _prune(self, product: str, keep: Champion) -> None:
        """Bounded disk: the newest few bundles of a product stay, for a roll-back without a download."""
        others = [path for path in (self._folder / product).iterdir() if path.is_dir() and path != Path(keep.folder)]
        for path in sorted(others, key=lambda path: path.stat().st_mtime, reverse=True)[KEPT_BUNDLES - 1 :]:
            shutil.rmtree(path, ignore_errors=True)
