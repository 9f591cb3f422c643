"""Which inspections of a camera are replays: one rule, for whatever follows a camera's verdicts one after the other."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from sightline.contracts import SourceOffset


class Judged(Protocol):
    """What the rule needs of an inspection."""

    @property
    def sequence(self) -> int: ...
    @property
    def captured_at(self) -> datetime: ...
    @property
    def source(self) -> SourceOffset: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class LastSeen:
    """Which frame came last, where in `frames` it stood, and the latest time that any frame claimed so far."""

    sequence: int
    captured_at: datetime
    source: SourceOffset
    latest: datetime


def is_stale(last: LastSeen, inspection: Judged) -> bool:
    """Whether the inspection is one that came before.

    A replayed frame is no later than the last one, in number and in time. A camera whose numbering restarted or whose
    clock was set back is later in one of the two, and so goes on; replays from before that moment are known by their
    older place in `frames`, unless they are later than all that was seen: then `frames` itself began anew.
    """
    later = inspection.sequence > last.sequence or inspection.captured_at > last.captured_at
    before = (
        inspection.source.topic == last.source.topic
        and inspection.source.partition == last.source.partition
        and inspection.source.offset < last.source.offset
    )
    return not later or (before and inspection.captured_at <= last.latest)


def last_seen(inspection: Judged, before: LastSeen | None) -> LastSeen:
    """What to remember of an inspection that is not stale; `before` is what was remembered until then."""
    at = inspection.captured_at
    latest = max(at, before.latest) if before else at
    return LastSeen(sequence=inspection.sequence, captured_at=at, source=inspection.source, latest=latest)
