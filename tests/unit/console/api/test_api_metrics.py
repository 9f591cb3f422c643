"""What the API process tells Prometheus of requests, actions and the alert feed."""

from __future__ import annotations

import threading

import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient
from prometheus_client import CollectorRegistry

from console.api.alert_feed import AlertFeed
from console.api.metrics import ApiMetrics, CountedActions, FeedMetrics, Measured
from sightline import samples
from sightline.contracts import Alert, OperatorAction
from sightline.errors import BrokerError
from sightline.metrics import OTHER


def test_requests_are_counted_by_the_template_of_their_route() -> None:
    app, registry = FastAPI(), CollectorRegistry()

    @app.get("/v1/alerts/{alert_id}")
    def alert(alert_id: str) -> str:
        if alert_id == "broken":
            raise RuntimeError
        return alert_id

    client = TestClient(Measured(app, ApiMetrics(registry)), raise_server_exceptions=False)
    for name in ("one", "two", "broken"):
        client.get(f"/v1/alerts/{name}")
    client.get("/etc/passwd")
    client.request("BREW", "/v1/alerts/one")

    def requests(method: str, route: str, status: str) -> float | None:
        labels = {"method": method, "route": route, "status": status}
        return registry.get_sample_value("sightline_api_requests_total", labels)

    assert requests("GET", "/v1/alerts/{alert_id}", "200") == 2
    assert requests("GET", "/v1/alerts/{alert_id}", "500") == 1
    # whatever a stranger asks for adds no label of its own
    assert requests("GET", OTHER, "404") == 1
    assert {sample.labels.get("method") for family in registry.collect() for sample in family.samples} <= {
        "GET", OTHER, None,
    }  # fmt: skip
    timed = {"method": "GET", "route": "/v1/alerts/{alert_id}"}
    assert registry.get_sample_value("sightline_api_request_seconds_count", timed) == 3
    assert registry.get_sample_value("sightline_api_requests_in_progress") == 0


def test_only_what_the_broker_took_counts_as_an_action() -> None:
    class Sink:
        away = False

        def send(self, action: OperatorAction) -> None:
            if self.away:
                raise BrokerError("away")

    registry, sink = CollectorRegistry(), Sink()
    counted = CountedActions(sink, ApiMetrics(registry))
    action = samples.operator_action()
    counted.send(action)
    sink.away = True
    with pytest.raises(BrokerError):
        counted.send(action)
    assert registry.get_sample_value("sightline_operator_actions_total", {"kind": action.kind.value}) == 1


def test_the_feed_is_down_until_it_was_reached() -> None:
    class Silent:
        def poll(self, seconds: float) -> list[Alert]:
            asked.set()
            return []

        def close(self) -> None: ...

    registry, asked = CollectorRegistry(), threading.Event()
    feed = AlertFeed(Silent)
    FeedMetrics(registry, feed)
    assert registry.get_sample_value("sightline_api_alert_feed_up") == 0
    feed.start()
    try:
        assert asked.wait(30)
        assert registry.get_sample_value("sightline_api_alert_feed_up") == 1
    finally:
        feed.stop()
    assert registry.get_sample_value("sightline_api_alerts_open", {"severity": "critical"}) == 0
    assert registry.get_sample_value("sightline_api_alert_listeners") == 0
