"""Test doubles that ship: sources that do on command what real ones do by accident."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import numpy as np

from producers.sources import Captured, Image, SourceLostError, Unreadable, now
from sightline.errors import SourceError

Step = Captured | Unreadable | SourceError


class ScriptedSource:
    """Plays a script: frames and unreadable frames are given, errors are raised, and then it ends. Live or replayable.

    After a `SourceLostError` it must be opened again; `refusals` such attempts fail before one works. `opened` and
    `closed` count what was asked of it.
    """

    fps: float | None = None
    product: str | None = None

    def __init__(self, script: Iterable[Step], *, live: bool = True, refusals: int = 0, name: str = "scripted") -> None:
        self.name = name
        self.live = live
        self.opened = 0
        self.closed = 0
        self._script: Iterator[Step] = iter(script)
        self._refusals = refusals
        self._refused = 0
        self._open = False
        self._was_lost = False

    def open(self) -> None:
        self.opened += 1
        if self._was_lost and self._refused < self._refusals:
            self._refused += 1
            raise SourceLostError(f"{self.name} refuses, {self._refused} of {self._refusals} times")
        self._refused = 0
        self._open = True

    def read(self) -> Captured | Unreadable | None:
        if not self._open:
            raise RuntimeError(f"{self.name} is read before it is open")
        step = next(self._script, None)
        if isinstance(step, SourceLostError):
            self._was_lost = True
            self._open = False
        if isinstance(step, SourceError):
            raise step
        return step

    def close(self) -> None:
        self.closed += 1
        self._open = False


def picture(number: int = 0, *, width: int = 64, height: int = 48) -> Image:
    """Pixels that differ from one `number` to the next."""
    rows, cols = np.mgrid[0:height, 0:width]
    return np.stack([(rows * 3 + number) % 256, (cols * 2) % 256, (rows + cols + number * 7) % 256], axis=2).astype(
        np.uint8
    )


def frames(count: int, *, label: str | None = None) -> list[Captured]:
    """`count` small captured frames, each with its own picture."""
    return [Captured(picture=picture(number), captured_at=now(), label=label) for number in range(count)]
