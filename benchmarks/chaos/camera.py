"""`python -m benchmarks.chaos.camera`: the product's own producers with a known line before them and a witness beside.

The pictures are grey: dark ones are good, bright ones are defects, and a few are cut off in the middle. Each frame's
number and each acknowledgement go into the camera's journal, which the oracle reads.
"""

from __future__ import annotations

import argparse
import sys
import threading
from collections.abc import Callable, Collection
from datetime import datetime
from pathlib import Path

import cv2
import numpy as np

from benchmarks.cameras import camera_names
from benchmarks.chaos.journal import Journal, Picture
from producers import job
from producers.ledger import Ledger
from producers.settings import ProducerSettings
from producers.sources import Captured, now
from sightline import logs
from sightline.settings import KafkaSettings

PRODUCT = "washer"
SIDE = 96
CYCLE = 40
DEFECTS = range(10, 14)
"""Turns of each cycle that show a defect."""
CUT_OFF = 97
"""One picture of so many is cut off in the middle."""
DARK, BRIGHT = 40, 235


def main(argv: list[str] | None = None) -> int:
    """Produce until SIGTERM; exit code 1 when a camera failed."""
    given = _arguments(argv)
    logs.configure("producers")
    stopping = threading.Event()

    def witnessed(
        folder: Path, line: str, camera: str, at: datetime, spooled: Callable[[], Collection[int]] = tuple
    ) -> Ledger:
        return WitnessedLedger(given.journals, sources[camera], folder, line, camera, at, spooled)

    kafka = KafkaSettings.load()
    names = camera_names(given.cameras, kafka.partitions)
    sources = {name: GreyParts(start=number * 9) for number, name in enumerate(names)}
    plans = [job.CameraPlan(name=name, product=PRODUCT, source=source) for name, source in sources.items()]
    with job.stop_on_signals(stopping):
        summaries = job.run(plans, kafka, ProducerSettings.load(), stopping=stopping, open_ledger=witnessed)
    return int(any(summary.failure for summary in summaries))


class WitnessedLedger(Ledger):
    """The product's ledger; what it is told goes into a journal too, and nothing comes from there.

    A camera asks for a number right after each picture that it has read from its source, in one thread.
    """

    def __init__(
        self,
        journals: Path,
        source: GreyParts,
        folder: Path,
        line: str,
        camera: str,
        at: datetime,
        spooled: Callable[[], Collection[int]],
    ) -> None:
        self._journal = Journal(journals, camera)
        self._source = source
        super().__init__(folder, line, camera, at, spooled)

    def reserve(self) -> int:
        sequence = super().reserve()
        self._journal.captured(sequence, self._source.shown)
        return sequence

    def delivered(self, sequence: int) -> None:
        self._journal.acknowledged(sequence)
        super().delivered(sequence)


class GreyParts:
    """A line whose pictures' verdicts are known. Replayable, paced by `[producer] fps`."""

    name = "grey"
    live = False
    fps: float | None = None
    product: str | None = PRODUCT

    def __init__(self, start: int = 0) -> None:
        self._turn = start
        self.shown = Picture.GOOD
        """What the last picture shows."""
        self._dark, self._bright = picture(DARK), picture(BRIGHT)

    def open(self) -> None:
        """Nothing to open."""

    def read(self) -> Captured:
        self._turn += 1
        bright = self._turn % CYCLE in DEFECTS
        jpeg = self._bright if bright else self._dark
        self.shown = Picture.DEFECT if bright else Picture.GOOD
        if self._turn % CUT_OFF == 0:
            jpeg, self.shown = jpeg[: len(jpeg) * 2 // 3], Picture.CUT
        return Captured(picture=jpeg, captured_at=now(), label="bright" if bright else "good")

    def close(self) -> None:
        """Nothing to close."""


def picture(grey: int) -> bytes:
    """A JPEG of `SIDE` x `SIDE` pixels, grey with some grain."""
    grain = np.random.default_rng(grey).integers(-10, 10, (SIDE, SIDE, 3))
    done, data = cv2.imencode(".jpg", np.clip(grain + grey, 0, 255).astype(np.uint8))
    assert done
    return bytes(data)


def _arguments(argv: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("journals", type=Path)
    parser.add_argument("--cameras", type=int, default=4)
    return parser.parse_args(argv)


if __name__ == "__main__":
    sys.exit(main())
