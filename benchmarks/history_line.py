"""What the cameras of a made-up plant saw: frames, scores, drops, one camera and day at a time."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta

import numpy as np
from numpy.typing import NDArray

from sightline.contracts import DropReason

THRESHOLD, REVIEW = 0.62, 0.55
SHIFT_START = 6 * 3600
"""Seconds after midnight."""
_SHIFT_SECONDS = 16 * 3600
_GOOD_SCORE, _SPREAD = 0.30, 0.055
_DROPS = (DropReason.QUEUE_FULL.value, DropReason.NOT_DELIVERED.value, DropReason.OVERSIZE.value)


@dataclass(frozen=True, slots=True)
class Plan:
    """What is made. With the defaults a camera takes a frame every 1.6 seconds, in two shifts a day.

    Of `frames` some four in ten thousand are dropped or unreadable; the others are inspected.
    """

    frames: int = 10_010_000
    days: int = 14
    lines: int = 5
    cameras_per_line: int = 4
    first_day: date = date(2026, 3, 2)
    pictures: float = 0.1
    rows_per_file: int = 80_000
    clustered: bool = True
    """False: rows in the order of their capture, all cameras mixed, as ingestion leaves them."""
    seed: int = 7

    @property
    def cameras(self) -> list[tuple[str, str]]:
        """(line, camera)."""
        return [
            (f"line-{line + 1}", f"line-{line + 1}-cam-{camera + 1}")
            for line in range(self.lines)
            for camera in range(self.cameras_per_line)
        ]

    @property
    def last_day(self) -> date:
        return self.first_day + timedelta(days=self.days - 1)

    def of_camera(self, day: int) -> int:
        """Captured frames of one camera on one day, dropped ones included."""
        share = self.days * len(self.cameras)
        return self.frames // share + (1 if day < self.frames % share // len(self.cameras) else 0)


@dataclass(slots=True)
class CameraDay:
    """The frames of one camera on one day that were inspected, in their order; all arrays have their length."""

    line: str
    camera: str
    number: int
    day: int
    sequence: NDArray[np.int64]
    captured: NDArray[np.int64]
    score: NDArray[np.float64]
    dropped: list[tuple[int, int, str]] = field(default_factory=list)
    dead: NDArray[np.int64] = field(default_factory=lambda: np.empty(0, np.int64))

    @property
    def defect(self) -> NDArray[np.bool_]:
        return np.asarray(self.score >= THRESHOLD)


def midnight(plan: Plan, day: int) -> int:
    """Microseconds since 1970 at the begin of that day, UTC."""
    at = datetime(plan.first_day.year, plan.first_day.month, plan.first_day.day, tzinfo=UTC) + timedelta(days=day)
    return int(at.timestamp()) * 1_000_000


def camera_day(plan: Plan, number: int, day: int) -> CameraDay:
    """What the camera of that number saw on that day; equal arguments give an equal day."""
    rng = np.random.default_rng([plan.seed, number, day])
    line, camera = plan.cameras[number]
    captured_count = plan.of_camera(day)
    first = sum(plan.of_camera(before) for before in range(day))
    step = _SHIFT_SECONDS * 1_000_000 / max(captured_count, 1)
    offset = np.arange(captured_count) * step + rng.uniform(0, step / 2, captured_count)
    at = midnight(plan, day) + SHIFT_START * 1_000_000 + offset.astype(np.int64)
    # the seventh camera drifts by a third of the spread each day; the others keep their place
    good = _GOOD_SCORE + 0.02 * (number % 5) + (day * _SPREAD / 3 if number % 20 == 6 else 0)
    score = rng.normal(good, _SPREAD, captured_count).clip(0.01)
    odds = np.full(captured_count, 0.002 * (1 + number % 4))
    for _ in range(rng.poisson(2.0)):
        start = int(rng.integers(0, captured_count))
        odds[start : start + int(rng.integers(20, 150))] = 0.5
    faulty = rng.random(captured_count) < odds
    score[faulty] = rng.normal(0.85, 0.15, int(faulty.sum())).clip(0.4)
    inspected = np.ones(captured_count, bool)
    dropped = []
    for _ in range(rng.poisson(1.5)):
        start, length = int(rng.integers(0, captured_count)), int(rng.geometric(0.1))
        end = min(start + length, captured_count) - 1
        if inspected[start : end + 1].all():
            inspected[start : end + 1] = False
            reason = rng.choice(_DROPS, p=[0.7, 0.2, 0.1])
            dropped.append((first + start, first + end, str(reason)))
    unreadable = (rng.random(captured_count) < 5e-5) & inspected
    inspected &= ~unreadable
    keep = np.flatnonzero(inspected)
    return CameraDay(
        line, camera, number, day, first + keep, at[keep], score[keep], dropped, first + np.flatnonzero(unreadable)
    )


def detector(plan: Plan, day: int) -> dict[str, str]:
    """Three champions, one after the other."""
    version = 1 + day * 3 // plan.days
    return {"version": str(version), "digest": f"{version:02x}" * 32}
