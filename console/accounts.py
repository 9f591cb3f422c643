"""What became of every frame: the figures that `console.verify` proves, and the faults that it finds."""

from __future__ import annotations

from dataclasses import dataclass

RANGES_SHOWN = 20
"""Ranges and examples that are named; beyond that they are counted."""


@dataclass(frozen=True, slots=True, order=True)
class FrameRange:
    """Frames `first`…`last` of a camera, both included."""

    camera: str
    first: int
    last: int

    def __str__(self) -> str:
        frames = f"{self.first}" if self.first == self.last else f"{self.first}–{self.last}"
        return f"{self.camera} {frames}"


@dataclass(frozen=True, slots=True)
class Lost:
    """Frames that were not judged, as was reported; `kind` is `dropped`, `in-doubt` or `shed`."""

    kind: str
    reason: str
    frames: int


@dataclass(frozen=True, slots=True)
class CameraAccount:
    """One camera's frames 0…`captured`-1.

    `captured` = `inspected` + `dead_lettered` + sum of `lost` + `in_flight` + `missing` − what is counted `twice`.
    `turned_up` frames had been in doubt. `duplicated` counts surplus rows, `restarted` the sequences that stand for
    several frames.
    """

    camera: str
    captured: int
    inspected: int
    dead_lettered: int
    lost: tuple[Lost, ...]
    in_flight: int
    missing: int
    twice: int
    turned_up: int
    duplicated: int
    restarted: int

    @property
    def dropped(self) -> int:
        """Frames counted as dropped, in-doubt ones that never turned up included."""
        return sum(lost.frames for lost in self.lost)


@dataclass(frozen=True, slots=True)
class Problem:
    """One kind of fault: how often, what it means, and the first places, as frames or in words."""

    kind: str
    count: int
    message: str
    ranges: tuple[FrameRange, ...] = ()
    examples: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Unplaced:
    """Dead letters that do not tell camera and sequence: they explain nothing but themselves."""

    topic: str
    partition: int
    first_offset: int
    last_offset: int
    count: int
    reasons: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Accounts:
    """The whole proof.

    `broker` is the address whose `frames` topic was looked at too, None when only the tables were. `notes` say what
    could not be looked at.
    """

    cameras: tuple[CameraAccount, ...]
    problems: tuple[Problem, ...]
    unplaced: tuple[Unplaced, ...]
    unplaced_in_flight: int
    broker: str | None
    notes: tuple[str, ...] = ()

    @property
    def in_flight(self) -> int:
        """Frames in the topic that no verdict has been stored for yet."""
        return sum(camera.in_flight for camera in self.cameras) + self.unplaced_in_flight

    @property
    def clean(self) -> bool:
        """Whether every frame is accounted for, and nothing else is wrong."""
        return not self.problems and not self.in_flight
