"""Frames that were handed to the Kafka client and have no answer yet."""

from __future__ import annotations

import time
from collections.abc import Callable

from sightline.contracts import Frame


class Flight:
    """Frames under way, in the order in which they left."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._frames: dict[tuple[str, int], tuple[Frame, float]] = {}

    def left(self, frame: Frame) -> None:
        """The frame is under way from now on."""
        self._frames[frame.camera, frame.sequence] = (frame, self._clock())

    def answered(self, camera: str, sequence: int) -> tuple[Frame, float] | None:
        """The broker took the frame, or it was given up; the frame and its seconds under way, if it was."""
        found = self._frames.pop((camera, sequence), None)
        return (found[0], self._clock() - found[1]) if found else None

    def __len__(self) -> int:
        return len(self._frames)

    def frames(self) -> list[Frame]:
        """All that are under way, the oldest first."""
        return [frame for frame, _ in self._frames.values()]

    def seconds(self) -> float:
        """How long the oldest has been under way; 0 without any."""
        for _, since in self._frames.values():
            return self._clock() - since
        return 0.0
