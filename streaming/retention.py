"""Records that retention took before a query had read them: told with their number, as an error and a metric.

The line goes on without them (`failOnDataLoss` is false). They are counted exactly: a micro-batch says from which
offsets to which it went, and how many records it read, and the offsets of the topics that are watched so have no gaps:
no transactions write them and nothing compacts them.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pyspark.sql.streaming import StreamingQuery


class LossWatch:
    """Counts what one query after the other of the same name did not find; to be asked every few seconds.

    Spark keeps the progress of the last hundred micro-batches, so at most that many may lie between two looks.
    """

    def __init__(self) -> None:
        self._run: str | None = None
        self._batch = -1

    def look(self, query: StreamingQuery) -> int:
        """Records lost since the last look."""
        run = str(query.runId)
        if run != self._run:
            self._run, self._batch = run, -1
        found, newest = 0, self._batch
        for progress in self._unseen(query):
            if moved := _moved(progress):
                newest = max(newest, progress["batchId"])
                found += max(0, moved - progress["numInputRows"])
        self._batch = newest
        return found

    def _unseen(self, query: StreamingQuery) -> Iterator[Mapping[str, Any]]:
        # pyspark would turn all hundred into objects, field by field
        java: Any = query
        recent = java._jsq.recentProgress()
        for place in range(len(recent) - 1, -1, -1):
            progress = json.loads(recent[place].json())
            if progress["batchId"] <= self._batch:
                return
            yield progress


def _moved(progress: Mapping[str, Any]) -> int:
    """Offsets that the micro-batch went over; 0 for one that did nothing, or that began where the topic does."""
    moved = 0
    for source in progress["sources"]:
        starts, ends = (offsets(source.get(key)) for key in ("startOffset", "endOffset"))
        moved += sum(end - starts[place] for place, end in ends.items() if place in starts)
    return moved


def offsets(told: Any) -> dict[tuple[str, str], int]:
    """Offset of each topic and partition in a progress: an object in the JSON of the whole, a text in Spark's own."""
    found = json.loads(told) if isinstance(told, str) and told.startswith("{") else told
    if not isinstance(found, dict):
        return {}
    return {(topic, number): offset for topic, places in found.items() for number, offset in places.items()}
