"""What a worker did in one task, on its way to the driver's metrics.

It leaves with the end of the task, in the message that Spark sends
anyway (an accumulator): no file, no connection and no registry in a worker. A task that Spark repeats counts twice,
as do the records that it writes.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field

from sightline.metrics import OTHER, WORK_BUCKETS


@dataclass(slots=True)
class Durations:
    """A histogram over `WORK_BUCKETS`: how many fell into each, not cumulative, and their sum in seconds."""

    counts: list[int] = field(default_factory=lambda: [0] * (len(WORK_BUCKETS) + 1))
    total: float = 0.0

    def add(self, seconds: float) -> None:
        self.counts[bisect_left(WORK_BUCKETS, seconds)] += 1
        self.total += seconds

    def plus(self, other: Durations) -> Durations:
        return Durations([a + b for a, b in zip(self.counts, other.counts, strict=True)], self.total + other.total)

    def cumulative(self) -> Iterator[tuple[str, float]]:
        """Pairs as Prometheus has them: upper bound, and how many were at most that."""
        so_far = 0
        for bound, count in zip((*map(str, map(float, WORK_BUCKETS)), "+Inf"), self.counts, strict=True):
            so_far += count
            yield bound, so_far


@dataclass(slots=True)
class Tally:
    """Counts of frames; `scored` by camera and verdict, `dead` by reason, `stages` by name.

    `frames` counts what was read: what is neither scored nor dead was shed.
    """

    frames: int = 0
    scored: Counter[tuple[str, str]] = field(default_factory=Counter)
    dead: Counter[str] = field(default_factory=Counter)
    archived: int = 0
    shadowed: int = 0
    stages: dict[str, Durations] = field(default_factory=dict)

    def took(self, stage: str, seconds: float) -> None:
        """Time of one stage of a batch of frames."""
        self.stages.setdefault(stage, Durations()).add(seconds)


class TallySum:
    """How Spark's accumulator adds tallies up (a `pyspark.AccumulatorParam`), with labels for `most` cameras."""

    def __init__(self, most: int) -> None:
        self._most = most

    def zero(self, _value: Tally) -> Tally:
        return Tally()

    def addInPlace(self, one: Tally, other: Tally) -> Tally:  # noqa: N802 - as Spark names it
        return merged(one, other, self._most)


def merged(one: Tally, other: Tally, most: int) -> Tally:
    """The sum of both, with labels for `most` cameras; the arguments stay as they are, for others may be reading."""
    cameras = {camera for camera, _ in one.scored}
    scored = Counter(one.scored)
    for (camera, verdict), frames in other.scored.items():
        if camera not in cameras and len(cameras - {OTHER}) >= most:
            camera = OTHER
        cameras.add(camera)
        scored[camera, verdict] += frames
    stages = dict(one.stages)
    for stage, durations in other.stages.items():
        stages[stage] = stages[stage].plus(durations) if stage in stages else durations
    return Tally(
        frames=one.frames + other.frames,
        scored=scored,
        dead=one.dead + other.dead,
        archived=one.archived + other.archived,
        shadowed=one.shadowed + other.shadowed,
        stages=stages,
    )
