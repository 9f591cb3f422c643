"""What the producers tell of their cameras."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry

from producers.ledger import Ledger, Tally
from producers.metrics import CameraFacts, Facts, ProducerMetrics
from sightline.contracts import DropReason
from sightline.errors import PublishError

AT = datetime(2026, 1, 2, tzinfo=UTC)


def facts(tally: Callable[[], Tally]) -> Facts:
    camera = CameraFacts(
        name="cam-1", tally=tally(), unsent_events=1, connected=False, queued=3, spooled=7, spool_bytes=2048
    )
    return Facts(cameras=[camera], under_way=5, broker_away=True)


def test_the_ledger_is_what_is_counted(tmp_path: Path) -> None:
    ledger, registry = Ledger(tmp_path, "line-1", "cam-1", AT), CollectorRegistry()
    for _ in range(4):
        ledger.reserve()
    ledger.delivered(0)
    ledger.dropped(1, DropReason.QUEUE_FULL)
    ledger.dropped(2, DropReason.QUEUE_FULL)
    ledger.settle(AT)
    ProducerMetrics(registry, lambda: facts(ledger.tally))

    def value(name: str, **labels: str) -> float | None:
        return registry.get_sample_value(name, labels)

    assert value("sightline_frames_captured_total", camera="cam-1") == 4
    assert value("sightline_frames_delivered_total", camera="cam-1") == 1
    assert value("sightline_frames_dropped_total", camera="cam-1", reason="queue-full") == 2
    assert value("sightline_camera_connected", camera="cam-1") == 0
    assert value("sightline_producer_queue_frames", camera="cam-1") == 3
    assert value("sightline_spool_frames", camera="cam-1") == 7
    assert value("sightline_spool_bytes", camera="cam-1") == 2048
    assert value("sightline_producer_flight_frames") == 5
    assert value("sightline_producer_broker_away") == 1
    ledger.close()
    with pytest.raises(PublishError):
        ledger.tally()
    # a scrape while the process ends finds nothing, and breaks nothing
    assert list(registry.collect()) == []
