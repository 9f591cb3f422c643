"""The metrics of `sightline notify`, read from the outbox when Prometheus asks."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator

from prometheus_client import CollectorRegistry
from prometheus_client.core import Metric
from prometheus_client.registry import Collector

from console.notify.outbox import SinkState
from sightline.metrics import Definition

SENT = Definition("sightline_notify_sent_total", "counter", "What receivers took", ("sink",))
FAILED = Definition("sightline_notify_failed_total", "counter", "Tries that failed and are repeated", ("sink",))
LOST = Definition(
    "sightline_notify_lost_total",
    "counter",
    "What never reached its receiver: refused, given_up, dropped, late or unanswered",
    ("sink", "reason"),
)
MUTED = Definition("sightline_notify_muted_total", "counter", "What a mute held back", ("sink",))
WAITING = Definition("sightline_notify_waiting", "gauge", "What waits on disk for its receiver", ("sink",))
OLDEST = Definition("sightline_notify_oldest_seconds", "gauge", "How long the oldest of it has waited", ("sink",))

DEFINITIONS = (SENT, FAILED, LOST, MUTED, WAITING, OLDEST)


class OutboxMetrics(Collector):
    """What every receiver was sent since the outbox was made; its counters survive a restart."""

    def __init__(self, registry: CollectorRegistry, states: Callable[[], list[SinkState]]) -> None:
        self._states = states
        registry.register(self)

    def collect(self) -> Iterator[Metric]:
        sent, failed, lost, muted = SENT.counts(), FAILED.counts(), LOST.counts(), MUTED.counts()
        waiting, oldest = WAITING.values(), OLDEST.values()
        for state in self._states():
            sink = [state.sink]
            sent.add_metric(sink, state.sent)
            failed.add_metric(sink, state.failed)
            for reason in ("refused", "given_up", "dropped", "late", "unanswered"):
                lost.add_metric([*sink, reason], getattr(state, reason))
            muted.add_metric(sink, state.muted)
            waiting.add_metric(sink, state.waiting)
            oldest.add_metric(sink, max(0.0, time.time() - state.oldest_at) if state.waiting else 0.0)
        yield from (sent, failed, lost, muted, waiting, oldest)
