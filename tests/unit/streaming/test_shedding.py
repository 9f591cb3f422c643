"""Which frames are left out under overload, and whether all of them are counted."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sightline import codec
from sightline.contracts import CameraEvent, CameraEventKind, DropReason, Frame, SourceOffset
from streaming.records import Record
from streaming.shedding import Policy, Shedder, one_in

NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
BOUND = 10.0


def record(sequence: int, late: float, camera: str = "cam-1") -> Record:
    frame = Frame(
        line="line-1", camera=camera, sequence=sequence, captured_at=NOW, product="washer", width=8, height=8, jpeg=b"x"
    )
    return Record(
        key=camera.encode(),
        value=frame.jpeg,
        headers=list(codec.frame_headers(frame)),
        source=SourceOffset(topic="frames", partition=0, offset=sequence),
        ingested_at=NOW - timedelta(seconds=late),
    )


def sequences(records: list[Record]) -> list[int | None]:
    return [codec.identity_from_headers(record.headers)[1] for record in records]


def events(shedder: Shedder) -> list[CameraEvent]:
    return [codec.decode(CameraEvent, out.value or b"") for out in shedder.report(NOW)]


def test_off_judges_what_is_hours_late() -> None:
    shedder = Shedder("off", BOUND, "camera-events")
    assert sequences(shedder.choose([record(1, 9999.0)], NOW)) == [1]
    assert shedder.report(NOW) == []


@pytest.mark.parametrize(
    ("behind", "expected"), [(0, 1), (10, 1), (10.1, 2), (20, 2), (20.1, 4), (79, 8), (81, 16), (-3600, 1)]
)
def test_the_later_the_fewer(behind: float, expected: int) -> None:
    assert one_in(behind, BOUND) == expected


def test_thinning_keeps_every_camera_in_sight_and_reports_each_gap() -> None:
    shedder = Shedder("thin", BOUND, "camera-events")
    given = [record(n, 35.0, camera) for n in range(8) for camera in ("cam-1", "cam-2")]
    assert sequences(shedder.choose(given, NOW)) == [0, 0, 4, 4]
    told = events(shedder)
    assert [(e.camera, e.first_sequence, e.last_sequence) for e in told] == [
        ("cam-1", 1, 3),
        ("cam-1", 5, 7),
        ("cam-2", 1, 3),
        ("cam-2", 5, 7),
    ]
    assert {(e.kind, e.reason, e.line) for e in told} == {(CameraEventKind.SHED, DropReason.OVERLOAD, "line-1")}
    assert "35.0 s behind" in str(told[0].message)
    assert shedder.report(NOW) == [], "what was reported is not reported again"


def test_newest_first_skips_to_what_is_within_the_bound() -> None:
    shedder = Shedder("newest", BOUND, "camera-events")
    assert sequences(shedder.choose([record(n, 12.0 - n) for n in range(6)], NOW)) == [2, 3, 4, 5]
    assert [(e.first_sequence, e.last_sequence) for e in events(shedder)] == [(0, 1)]


def test_a_record_that_is_no_frame_is_judged_however_late() -> None:
    shedder = Shedder("newest", BOUND, "camera-events")
    broken = record(3, 99.0)._replace(headers=[("ce_type", b"something else")])
    assert shedder.choose([broken], NOW) == [broken]
    assert shedder.report(NOW) == []


def test_a_replay_of_the_same_gap_has_the_same_event() -> None:
    told = []
    for _ in range(2):
        shedder = Shedder("newest", BOUND, "camera-events")
        shedder.choose([record(3, 99.0), record(4, 99.0)], NOW)
        told += events(shedder)
    assert told[0].event_id == told[1].event_id


@given(
    frames=st.lists(st.tuples(st.integers(0, 40), st.floats(-5, 500), st.sampled_from(["a", "b"])), max_size=60),
    policy=st.sampled_from(["thin", "newest"]),
)
def test_every_frame_is_judged_or_lies_in_a_reported_range(
    frames: list[tuple[int, float, str]], policy: Policy
) -> None:
    frames = list({(sequence, camera): (sequence, late, camera) for sequence, late, camera in frames}.values())
    shedder = Shedder(policy, BOUND, "camera-events")
    kept = shedder.choose([record(*frame) for frame in frames], NOW)
    judged = [codec.identity_from_headers(found.headers) for found in kept]
    judged += [
        (event.camera, sequence)
        for event in events(shedder)
        for sequence in range(event.first_sequence or 0, (event.last_sequence or 0) + 1)
    ]
    assert sorted(map(str, judged)) == sorted(str((camera, sequence)) for sequence, _, camera in frames)
