"""Looks at the running queries every few seconds, for their metrics: once a look, not once a micro-batch."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Mapping
from datetime import datetime
from functools import partial
from typing import TYPE_CHECKING, Any, Self

from sightline.errors import BrokerError
from sightline.settings import KafkaSettings
from streaming.checkpoints import note_beside
from streaming.metrics import QueryMetrics
from streaming.retention import LossWatch, beginnings, offsets
from streaming.tables import TABLES

if TYPE_CHECKING:
    from pyspark.sql.streaming import StreamingQuery

log = logging.getLogger(__name__)

LOOK_SECONDS = 5.0
GAP_FREE = frozenset({"score", *TABLES}) - {"alerts"}
"""Queries whose topic has no gaps in its offsets, so that a record that was not read was lost: alerts are written in
transactions and compacted."""


class QueryWatch:
    """A thread that reads what the queries last told of themselves."""

    def __init__(self, metrics: QueryMetrics, kafka: KafkaSettings) -> None:
        self._metrics = metrics
        self._beginnings = partial(beginnings, kafka)
        self._queries: dict[str, Any] = {}
        self._told: dict[str, str] = {}
        self._losses: dict[str, LossWatch] = {}
        self._lock = threading.Lock()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="query-watch", daemon=True)

    def following(
        self, name: str, start: Callable[[], StreamingQuery], checkpoint: str
    ) -> Callable[[], StreamingQuery]:
        """`start`, with the query that it gives looked at from then on; `checkpoint` is the query's."""
        if name in GAP_FREE:
            losses = self._losses[name] = LossWatch(note_beside(checkpoint, f"losses-{name}.json"), self._beginnings)
            # Prometheus sees no increase in a counter that begins with one
            self._metrics.lost(name, losses.total)

        def started() -> StreamingQuery:
            with self._lock:
                ended = self._queries.pop(name, None)
                if ended is not None:
                    # what it told at its end
                    self._look(name, ended)
            query = start()
            with self._lock:
                self._queries[name] = query
            if ended is None or ended.exception():
                self._metrics.started(name)
            return query

        return started

    def __enter__(self) -> Self:
        """Begin to look; it is to be left before Spark stops."""
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()
        self._try_to_look()

    def look(self) -> None:
        """Look at every query once."""
        with self._lock:
            for name, query in self._queries.items():
                self._look(name, query)

    def _look(self, name: str, query: Any) -> None:
        self._metrics.running(name, bool(query.isActive))
        progress = query.lastProgress
        if progress is not None and progress["timestamp"] != self._told.get(name):
            self._told[name] = progress["timestamp"]
            at = datetime.fromisoformat(progress["timestamp"])
            self._metrics.progress(name, at, lag(progress), progress["durationMs"])
        if losses := self._losses.get(name):
            try:
                losses.look(query, partial(self._lost, name))
            except (BrokerError, OSError) as error:
                log.warning("lost records not counted, trying again", extra={"query": name, "error": str(error)})

    def _lost(self, name: str, records: int) -> None:
        self._metrics.lost(name, records)
        log.error("records were gone before they were read", extra={"query": name, "records_lost": records})

    def _run(self) -> None:
        while not self._stop.wait(LOOK_SECONDS):
            self._try_to_look()

    def _try_to_look(self) -> None:
        try:
            self.look()
        except Exception as error:  # noqa: BLE001 - a query that ends meanwhile; metrics must not end a process
            log.debug("queries not looked at", extra={"error": str(error)})


def lag(progress: Mapping[str, Any]) -> int:
    """Records that were in the topics and not yet read when the micro-batch was planned, over all partitions."""
    waiting = 0
    for source in progress["sources"]:
        ends, latest = (offsets(source.get(key)) for key in ("endOffset", "latestOffset"))
        waiting += sum(max(0, offset - ends.get(place, 0)) for place, offset in latest.items())
    return waiting
