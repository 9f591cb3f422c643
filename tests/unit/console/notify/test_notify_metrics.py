"""What Prometheus reads of the receivers is what the outbox says of them."""

from __future__ import annotations

from pathlib import Path

from prometheus_client import CollectorRegistry

from console.notify.metrics import OutboxMetrics
from console.notify.outbox import Outbox
from console.notify.settings import Rules
from sightline import samples
from sightline.contracts import AlertState


def test_what_waits_what_was_sent_and_what_was_lost(tmp_path: Path) -> None:
    outbox, registry = Outbox(tmp_path, most=2), CollectorRegistry()
    OutboxMetrics(registry, outbox.states)
    alerts = [samples.alert("cam-1", sequence, state=AlertState.OPENED) for sequence in range(4)]
    outbox.park(alerts[:1], {"mes": Rules()}, lambda _: False)
    outbox.done("mes", outbox.take("mes"))
    outbox.park(alerts[1:], {"mes": Rules()}, lambda _: False)

    def value(name: str, **more: str) -> float | None:
        return registry.get_sample_value(f"sightline_notify_{name}", {"sink": "mes", **more})

    assert value("sent_total") == 1
    assert value("waiting") == 2, "the bound"
    assert value("lost_total", reason="dropped") == 1
    assert value("lost_total", reason="refused") == 0
    assert 0 <= (value("oldest_seconds") or 0) < 60
