"""From what workers did to what Prometheus reads of the score process."""

from __future__ import annotations

import pickle
from collections import Counter

import pytest
from prometheus_client import CollectorRegistry

from sightline.metrics import OTHER
from streaming.metrics import ScoreMetrics
from streaming.query_watch import lag
from streaming.tally import Tally, TallySum


def of(frames: int, scored: dict[tuple[str, str], int], dead: dict[str, int] | None = None) -> Tally:
    return Tally(frames=frames, scored=Counter(scored), dead=Counter(dead or {}))


def test_tallies_add_up_and_leave_their_parts_alone() -> None:
    one, other = of(3, {("a", "ok"): 2}, {"empty": 1}), of(2, {("a", "ok"): 1, ("a", "defect"): 1})
    one.took("detect", 0.02)
    other.took("detect", 0.004)
    # as Spark brings it from a worker
    both = TallySum(10).addInPlace(one, pickle.loads(pickle.dumps(other)))
    assert both.frames == 5
    assert both.scored == {("a", "ok"): 3, ("a", "defect"): 1}
    assert both.dead == {"empty": 1}
    assert both.stages["detect"].total == pytest.approx(0.024)
    assert (one.frames, one.scored, one.stages["detect"].total) == (3, {("a", "ok"): 2}, 0.02)


def test_cameras_beyond_the_bound_are_counted_together() -> None:
    total = Tally()
    for camera in ("a", "b", "c", "d", "a"):
        total = TallySum(2).addInPlace(total, of(1, {(camera, "ok"): 1}))
    assert total.scored == {("a", "ok"): 2, ("b", "ok"): 1, (OTHER, "ok"): 2}


def test_the_metrics_say_what_the_tally_says() -> None:
    tally = of(10, {("cam-1", "ok"): 5, ("cam-1", "defect"): 1}, {"truncated": 2})
    tally.archived = 1
    for seconds in (0.002, 0.004, 7.0, 60.0):
        tally.took("open", seconds)
    registry = CollectorRegistry()
    force = [("washer", "champion", "3", "d" * 64)]
    ScoreMetrics(registry, lambda: tally, lambda: force, lambda: {"champion": 2})

    def value(name: str, **labels: str) -> float | None:
        return registry.get_sample_value(name, labels)

    assert value("sightline_frames_read_total") == 10
    assert value("sightline_frames_scored_total", camera="cam-1", verdict="defect") == 1
    assert value("sightline_frames_dead_lettered_total", reason="truncated") == 2
    # read, and neither judged nor dead
    assert value("sightline_frames_shed_total") == 2
    assert value("sightline_frames_archived_total") == 1
    assert value("sightline_score_work_seconds_bucket", stage="open", le="0.0025") == 1
    assert value("sightline_score_work_seconds_bucket", stage="open", le="0.005") == 2
    assert value("sightline_score_work_seconds_bucket", stage="open", le="10.0") == 3
    assert value("sightline_score_work_seconds_count", stage="open") == 4
    assert value("sightline_score_work_seconds_sum", stage="open") == pytest.approx(67.006)
    assert value("sightline_detector_info", product="washer", alias="champion", version="3", digest="d" * 64) == 1
    assert value("sightline_detectors_refused_total", alias="champion") == 2


def test_lag_is_what_the_topic_had_beyond_the_batch() -> None:
    source = {"endOffset": '{"frames": {"0": 90, "1": 100}}', "latestOffset": '{"frames": {"0": 100, "1": 125}}'}
    assert lag({"sources": [source]}) == 35
    assert lag({"sources": [{"endOffset": "null", "latestOffset": '{"frames": {"0": 7}}'}]}) == 7
    assert lag({"sources": [{"endOffset": "None", "latestOffset": "None"}]}) == 0
