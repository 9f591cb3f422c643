"""What is left out when more frames come than can be judged: by rule, and counted.

How late a frame is follows from when the broker took it: a camera's wrong clock, or frames that waited on a producer's
disk, shed nothing. What is left out is reported on `camera-events`, as ranges of sequences.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from sightline import codec
from sightline.contracts import CameraEvent, CameraEventKind, DropReason, Frame
from sightline.errors import FrameError
from streaming.records import Outgoing, Record

Policy = Literal["off", "thin", "newest"]
"""`off` judges every frame, however late. `thin` judges one frame in 2, 4, 8… of each camera, the fewer the later they
are. `newest` judges no frame that is later than the bound."""


@dataclass(slots=True)
class _Gap:
    """Frames of one camera that follow each other, all left out."""

    line: str
    since: datetime
    first: int
    last: int
    behind: float


class Shedder:
    """Chooses, for one task, which frames are judged, and keeps book of the others."""

    def __init__(self, policy: Policy, max_lag_seconds: float, topic: str) -> None:
        """`topic` is that of the camera events."""
        self._policy = policy
        self._bound = max_lag_seconds
        self._topic = topic
        self._gaps: dict[str, list[_Gap]] = {}

    def choose(self, records: Iterable[Record], now: datetime) -> list[Record]:
        """The records that are to be judged, in their order; records that are no sound frame are never left out."""
        if self._policy == "off":
            return list(records)
        return [record for record in records if not self._left_out(record, now)]

    def report(self, now: datetime) -> list[Outgoing]:
        """One event for each stretch of frames that were left out since the last call."""
        events = [
            CameraEvent(
                event_id=codec.digest_id("shed", camera, gap.since, gap.first, gap.last),
                line=gap.line,
                camera=camera,
                kind=CameraEventKind.SHED,
                at=now,
                next_sequence=gap.last + 1,
                first_sequence=gap.first,
                last_sequence=gap.last,
                reason=DropReason.OVERLOAD,
                message=f"{gap.behind:.1f} s behind, [score] shed = {self._policy!r} past {self._bound:g} s",
            )
            for camera, gaps in self._gaps.items()
            for gap in gaps
        ]
        self._gaps.clear()
        return [
            Outgoing(
                self._topic, event.camera.encode(), codec.encode(event), codec.event_headers(event, event.event_id)
            )
            for event in events
        ]

    def _left_out(self, record: Record, now: datetime) -> bool:
        behind = (now - record.ingested_at).total_seconds()
        if behind <= self._bound:
            return False
        try:
            frame = codec.frame_from_record(record.value, record.headers)
        except FrameError:
            return False
        if self._policy == "thin" and frame.sequence % one_in(behind, self._bound) == 0:
            return False
        self._count(frame, behind)
        return True

    def _count(self, frame: Frame, behind: float) -> None:
        gaps = self._gaps.setdefault(frame.camera, [])
        if gaps and gaps[-1].last + 1 == frame.sequence:
            gaps[-1].last, gaps[-1].behind = frame.sequence, max(behind, gaps[-1].behind)
        else:
            gaps.append(_Gap(frame.line, frame.captured_at, frame.sequence, frame.sequence, behind))


def one_in(behind: float, bound: float) -> int:
    """Of how many frames one is judged, `behind` seconds late: the power of two that is at least `behind / bound`.

    With k times the frames that can be judged, the lateness settles below k bounds: there no more than one in k is.
    Powers of two, so that what a stricter rule judges a milder one judges too.
    """
    return 1 << max(0, math.ceil(math.log2(behind / bound))) if behind > bound else 1
