"""The spans that the incident and history processes tell of frames that were marked."""

from __future__ import annotations

from datetime import UTC, datetime

from sightline.contracts import Inspection
from sightline.traces import Fact, Mark, Tracer


class IncidentSpans:
    """Waits with the frames of one transaction until it is through; without a tracer everything here is idle."""

    def __init__(self, tracer: Tracer | None) -> None:
        self._tracer = tracer
        self._waiting: list[tuple[Mark, Inspection, datetime]] = []

    @property
    def wanted(self) -> bool:
        return self._tracer is not None

    def folded(self, mark: Mark, inspection: Inspection, published_at: datetime) -> None:
        """A marked verdict was folded; its transaction is yet to come."""
        self._waiting.append((mark, inspection, published_at))

    def committed(self) -> None:
        """All that was folded is committed now."""
        waiting, self._waiting = self._waiting, []
        if self._tracer is None:
            return
        now = datetime.now(UTC)
        for mark, seen, published_at in waiting:
            times = seen.timings
            facts: dict[str, Fact] = {"camera": seen.camera, "sequence": seen.sequence}
            ruling: dict[str, Fact] = {
                "verdict": seen.verdict.value,
                "score": seen.score,
                "detector": seen.detector.version,
            }
            self._tracer.span("score", "queue and decode", mark, times.ingested_at, times.decoded_at, facts)
            self._tracer.span("score", "score", mark, times.decoded_at, times.scored_at, facts | ruling)
            self._tracer.span("score", "publish verdict", mark, times.scored_at, published_at, facts)
            self._tracer.span("incidents", "incident", mark, published_at, now, facts)
