"""Latencies as the incident process reads them from the verdicts' own times."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest
from prometheus_client import CollectorRegistry

from sightline import samples
from sightline.metrics import OTHER, MetricsSettings
from streaming.metrics import IncidentMetrics


def test_the_way_of_a_frame_is_told_by_stage() -> None:
    registry = CollectorRegistry()
    metrics = IncidentMetrics(registry, MetricsSettings.load(cameras=1))
    taken = samples.inspection().captured_at
    times = replace(
        samples.inspection().timings,
        ingested_at=taken + timedelta(milliseconds=20),
        # the score host's clock is behind the broker's
        decoded_at=taken + timedelta(milliseconds=15),
        scored_at=taken + timedelta(milliseconds=100),
    )
    seen = replace(samples.inspection(), camera="cam-1", timings=times)
    metrics.inspection(seen, taken + timedelta(milliseconds=130))
    metrics.inspection(replace(seen, camera="cam-2"), taken + timedelta(seconds=4))

    def value(name: str, **labels: str) -> float | None:
        return registry.get_sample_value(name, labels)

    assert value("sightline_verdict_latency_seconds_sum", camera="cam-1") == pytest.approx(0.13)
    assert value("sightline_verdict_latency_seconds_bucket", camera="cam-1", le="0.1") == 0
    assert value("sightline_verdict_latency_seconds_bucket", camera="cam-1", le="0.15") == 1
    assert value("sightline_verdict_latency_seconds_sum", camera=OTHER) == pytest.approx(4)
    sums = {
        stage: value("sightline_frame_stage_seconds_sum", stage=stage)
        for stage in ("arrive", "wait", "detect", "publish")
    }
    assert sums == pytest.approx({"arrive": 0.04, "wait": 0, "detect": 0.17, "publish": 0.03 + 3.9})
    assert value("sightline_inspections_folded_total", verdict=seen.verdict.value) == 2


def test_open_incidents_are_counted_anew_with_each_commit() -> None:
    registry = CollectorRegistry()
    metrics = IncidentMetrics(registry, MetricsSettings.load())
    metrics.lag(0, 12)
    metrics.committed(0.01, [samples.alert()], ["critical", "critical"])
    metrics.committed(0.01, [], ["warning"])
    assert registry.get_sample_value("sightline_incidents_open", {"severity": "critical"}) == 0
    assert registry.get_sample_value("sightline_incidents_open", {"severity": "warning"}) == 1
    told = {"state": samples.alert().state.value, "severity": samples.alert().severity.value}
    assert registry.get_sample_value("sightline_alerts_total", told) == 1
    assert registry.get_sample_value("sightline_incident_lag_records", {"partition": "0"}) == 12
    metrics.session()
    # another member may have the partition by now
    assert registry.get_sample_value("sightline_incident_lag_records", {"partition": "0"}) is None
