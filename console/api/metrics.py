"""The metrics of the API process: requests by route, what operators did, and what waits."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, Protocol

from prometheus_client import CollectorRegistry
from prometheus_client.core import Metric
from prometheus_client.registry import Collector

from sightline.contracts import Alert, OperatorAction
from sightline.metrics import OTHER, WORK_BUCKETS, Definition

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

    from console.api.actions import ActionSink

REQUESTS = Definition(
    "sightline_api_requests_total", "counter", "Requests that were answered", ("method", "route", "status")
)
SECONDS = Definition(
    "sightline_api_request_seconds",
    "histogram",
    "From a request to the head of its answer",
    ("method", "route"),
    WORK_BUCKETS,
)
IN_PROGRESS = Definition("sightline_api_requests_in_progress", "gauge", "Requests that are being answered")
ACTIONS = Definition("sightline_operator_actions_total", "counter", "What operators said of alerts", ("kind",))
LISTENERS = Definition("sightline_api_alert_listeners", "gauge", "Streams of alerts that are open")
FEED = Definition("sightline_api_alert_feed_up", "gauge", "1 while the topic of the alerts can be read")
KNOWN = Definition(
    "sightline_api_alerts_open", "gauge", "Incidents that are open, as the pages show them", ("severity",)
)

DEFINITIONS = (REQUESTS, SECONDS, IN_PROGRESS, ACTIONS, LISTENERS, FEED, KNOWN)

_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})


class Feed(Protocol):
    """What is told of the alert feed."""

    @property
    def fault(self) -> str | None: ...
    @property
    def listeners(self) -> int: ...
    def open(self) -> list[Alert]: ...


class ApiMetrics:
    """Counts requests and actions."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.requests = REQUESTS.counter(registry)
        self.seconds = SECONDS.histogram(registry)
        self.in_progress = IN_PROGRESS.gauge(registry)
        self.actions = ACTIONS.counter(registry)


class Measured:
    """An application whose requests are counted, by the template of their route: what a path holds is in no label."""

    def __init__(self, app: ASGIApp, metrics: ApiMetrics) -> None:
        self._app = app
        self._metrics = metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        began, status = time.perf_counter(), 500
        answered = began

        async def watched(message: Message) -> None:
            nonlocal status, answered
            if message["type"] == "http.response.start":
                status, answered = message["status"], time.perf_counter()
            await send(message)

        self._metrics.in_progress.inc()
        try:
            await self._app(scope, receive, watched)
        finally:
            self._metrics.in_progress.dec()
            route, method = _route(scope), _method(scope)
            self._metrics.requests.labels(method, route, str(status)).inc()
            self._metrics.seconds.labels(method, route).observe(max(0.0, answered - began))


class CountedActions:
    """Counts the actions that the sink took."""

    def __init__(self, sink: ActionSink, metrics: ApiMetrics) -> None:
        self._sink = sink
        self._metrics = metrics

    def send(self, action: OperatorAction) -> None:
        """Raises what the sink raises, and then counts nothing."""
        self._sink.send(action)
        self._metrics.actions.labels(action.kind.value).inc()


class FeedMetrics(Collector):
    """The alert feed, looked at when Prometheus asks."""

    def __init__(self, registry: CollectorRegistry, feed: Feed) -> None:
        self._feed = feed
        registry.register(self)

    def collect(self) -> Iterator[Metric]:
        listeners, up, known = LISTENERS.values(), FEED.values(), KNOWN.values()
        listeners.add_metric([], self._feed.listeners)
        up.add_metric([], self._feed.fault is None)
        severities = [alert.severity.value for alert in self._feed.open()]
        for severity in ("warning", "critical"):
            known.add_metric([severity], severities.count(severity))
        yield from (listeners, up, known)


def _route(scope: Scope) -> str:
    route: Any = scope.get("route")
    return str(getattr(route, "path", OTHER))


def _method(scope: Scope) -> str:
    return scope["method"] if scope["method"] in _METHODS else OTHER
