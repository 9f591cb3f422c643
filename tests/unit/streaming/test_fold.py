"""What operators are told: when an incident opens, how often it speaks, when it closes, and that it never repeats."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, timedelta
from itertools import pairwise

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sightline.contracts import (
    Alert,
    AlertState,
    DetectorRef,
    HeatMap,
    Inspection,
    Quality,
    Region,
    Severity,
    SourceOffset,
    Timings,
    Verdict,
)
from sightline.errors import SettingsError
from streaming.fold import AlertSettings, CameraState, fold, fold_all

START = datetime(2026, 11, 1, 8, 0, tzinfo=UTC)
SCORES = {"o": 0.2, "r": 0.9, "d": 1.2}
VERDICTS = {"o": Verdict.OK, "r": Verdict.REVIEW, "d": Verdict.DEFECT}


def inspection(
    verdict: str, sequence: int, *, at: datetime | None = None, offset: int | None = None, score: float | None = None
) -> Inspection:
    """Frame `sequence` of camera `cam`, ten a second unless `at` says otherwise."""
    captured = at or START + timedelta(milliseconds=100 * sequence)
    return Inspection(
        inspection_id=f"{sequence}@{captured.isoformat()}",
        line="line-1",
        camera="cam",
        sequence=sequence,
        captured_at=captured,
        product="cap",
        width=640,
        height=480,
        score=SCORES[verdict] if score is None else score,
        threshold=1.0,
        verdict=VERDICTS[verdict],
        detector=DetectorRef(name="sightline.cap", version="1", digest="abc"),
        quality=Quality(blur=1.0, exposure=100.0),
        timings=Timings(ingested_at=captured, decoded_at=captured, scored_at=captured),
        source=SourceOffset(topic="frames", partition=0, offset=sequence if offset is None else offset),
        heat_map=HeatMap(rows=1, cols=1, scale=1.0, values=b"\0"),
        regions=(Region(x=sequence, y=0, width=4, height=4, peak=1.0),),
        thumbnail=f"picture {sequence}".encode(),
    )


def frames(verdicts: str, start: int = 0) -> list[Inspection]:
    return [inspection(verdict, start + index) for index, verdict in enumerate(verdicts)]


def told(verdicts: str, **policy: float) -> list[tuple[str, int]]:
    """State and last defect of each alert."""
    alerts = fold_all(frames(verdicts), AlertSettings(**policy))
    return [(alert.state.value, alert.last_sequence) for alert in alerts]


def test_one_defect_alone_is_no_incident_but_a_second_within_the_window_is() -> None:
    assert told("oooodooooooood") == []
    assert told("oodoodo") == [("opened", 5)]


def test_an_incident_starts_at_its_first_defect_and_counts_all() -> None:
    (alert,) = fold_all(frames("oododo"), AlertSettings(window=3, defects=2))
    assert (alert.first_sequence, alert.last_sequence, alert.count) == (2, 4, 2)
    assert alert.opened_at == START + timedelta(milliseconds=200)
    assert alert.revision == 1


def test_with_a_single_defect_as_the_policy_each_defect_counts_at_once() -> None:
    assert told("ood", window=1, defects=1) == [("opened", 2)]


def test_it_closes_after_enough_good_frames_in_a_row() -> None:
    assert told("dd" + "oodoo" + "ooo", close_after=3) == [("opened", 1), ("closed", 4)]


def test_a_long_incident_is_not_told_frame_by_frame() -> None:
    states = told("d" * 201, update_every=50, critical_count=1000)
    assert [state for state, _ in states] == ["opened"] + ["updated"] * 3
    assert [last for _, last in states] == [1, 51, 101, 151]


def test_a_much_higher_peak_is_told_at_once_with_its_own_picture() -> None:
    shots = [*frames("dd"), inspection("d", 2, score=1.9), inspection("d", 3, score=1.95)]
    *_, alert = fold_all(shots, AlertSettings())
    assert (alert.revision, alert.peak_score, alert.peak_sequence) == (2, 1.9, 2)
    assert alert.thumbnail == b"picture 2"
    assert alert.regions[0].x == 2


def test_severity_rises_with_the_score_and_with_the_count_and_never_falls() -> None:
    by_score = list(fold_all([inspection("d", 0, score=2.0), *frames("d", 1)], AlertSettings(critical_factor=2.0)))
    assert by_score[0].severity is Severity.CRITICAL
    by_count = list(fold_all(frames("dddddd" + "o" * 20), AlertSettings(critical_count=5)))
    assert [(alert.state.value, alert.severity.value) for alert in by_count] == [
        ("opened", "warning"),
        ("updated", "critical"),
        ("closed", "critical"),
    ]


def test_review_neither_opens_nor_closes_nor_takes_a_place_in_the_window() -> None:
    assert told("rrrrrrrr") == []
    assert told("d" + "r" * 50 + "d", window=2) == [("opened", 51)]
    assert told("dd" + "r" * 50, close_after=3) == [("opened", 1)]
    assert told("dd" + "orro", close_after=2) == [("opened", 1), ("closed", 1)]


def test_defects_soon_after_a_close_continue_the_same_alert() -> None:
    alerts = list(fold_all(frames("dd" + "ooo" + "dd" + "ooo"), AlertSettings(close_after=3)))
    assert [alert.state.value for alert in alerts] == ["opened", "closed", "updated", "closed"]
    assert [alert.revision for alert in alerts] == [1, 2, 3, 4]
    assert len({alert.alert_id for alert in alerts}) == 1
    assert alerts[-1].count == 4


def test_defects_long_after_a_close_are_another_incident() -> None:
    shots = frames("dd" + "o" * 400 + "dd")
    alerts = list(fold_all(shots, AlertSettings(close_after=3, cool_down_seconds=30)))
    assert [alert.state.value for alert in alerts] == ["opened", "closed", "opened"]
    assert alerts[0].alert_id != alerts[2].alert_id
    assert alerts[2].first_sequence == 402


def test_a_silence_closes_at_the_last_frame_before_it_and_forgets_the_window() -> None:
    late = START + timedelta(minutes=5)
    shots = [*frames("dd"), inspection("d", 2, at=late), inspection("d", 3, at=late + timedelta(seconds=1))]
    opened, closed, second = fold_all(shots, AlertSettings())
    assert (opened.state, closed.state, second.state) == (AlertState.OPENED, AlertState.CLOSED, AlertState.OPENED)
    assert closed.updated_at == START + timedelta(milliseconds=100)
    assert second.first_sequence == 2


def test_one_frame_may_close_one_incident_and_open_the_next() -> None:
    shots = [inspection("d", 0), inspection("d", 1, at=START + timedelta(hours=1))]
    alerts = list(fold_all(shots, AlertSettings(window=1, defects=1)))
    assert [alert.state.value for alert in alerts] == ["opened", "closed", "opened"]


@pytest.mark.parametrize("shift", [timedelta(days=-1), timedelta(seconds=-5), timedelta(seconds=5)])
def test_a_camera_whose_clock_was_set_folds_on(shift: timedelta) -> None:
    moved = [inspection("d", n, at=START + shift + timedelta(milliseconds=100 * n)) for n in (10, 11, 12)]
    alerts = list(fold_all([*frames("o" * 10), *moved], AlertSettings()))
    assert [alert.state.value for alert in alerts] == ["opened"]


def test_a_camera_whose_numbering_restarted_folds_on() -> None:
    restarted = [
        inspection("d", n, at=START + timedelta(seconds=20, milliseconds=100 * n), offset=100 + n) for n in range(2)
    ]
    alerts = list(fold_all([*frames("o" * 100), *restarted], AlertSettings()))
    assert [alert.state.value for alert in alerts] == ["opened"]


def test_more_defects_than_the_window_holds_is_refused_by_name() -> None:
    with pytest.raises(SettingsError, match=r"\[alerts\] defects = 6.*window of 5 frames"):
        AlertSettings.load(defects=6)


policies = st.builds(
    lambda window, defects, **rest: AlertSettings(window=window, defects=min(window, defects), **rest),
    window=st.integers(1, 6),
    defects=st.integers(1, 4),
    close_after=st.integers(1, 5),
    cool_down_seconds=st.sampled_from([0.3, 1.0, 30.0]),
    update_every=st.integers(1, 6),
    peak_growth=st.sampled_from([0.1, 0.5]),
    critical_count=st.integers(1, 8),
)


@st.composite
def histories(draw: st.DrawFn) -> list[Inspection]:
    """One camera as it may be in a plant: silences, a clock that is set back, a numbering that restarts."""
    verdicts = draw(st.lists(st.sampled_from("oodddr"), max_size=60))
    sequence, at, shots = 0, START, []
    for offset, verdict in enumerate(verdicts):
        event = draw(st.sampled_from(["next"] * 12 + ["silence", "clock back", "renumbered"]))
        at += timedelta(milliseconds=100)
        if event == "silence":
            at += timedelta(seconds=draw(st.sampled_from([1, 60])))
        elif event == "clock back":
            at -= timedelta(seconds=draw(st.sampled_from([1, 60])))
        elif event == "renumbered":
            sequence = 0
        score = draw(st.floats(1.0, 5.0)) if verdict == "d" else None
        shots.append(inspection(verdict, sequence, at=at, offset=offset, score=score))
        sequence += 1
    return shots


@st.composite
def replayed(draw: st.DrawFn, shots: Sequence[Inspection]) -> list[Inspection]:
    """The same inspections as an at-least-once topic may hold them: now and then, some of the last are sent again."""
    sent: list[Inspection] = []
    for index, shot in enumerate(shots):
        sent.append(shot)
        again = draw(st.sampled_from([0] * 8 + [1, 3, 10, 60]))
        sent += shots[max(0, index + 1 - again) : index + 1]
    return sent


def accepted(shots: Iterable[Inspection]) -> list[Inspection]:
    """Those that the fold does not take for a replay when each is sent once."""
    state, kept = CameraState(), []
    for shot in shots:
        after, _ = fold(state, shot, AlertSettings())
        if after is not state:
            kept.append(shot)
        state = after
    return kept


@settings(deadline=None)
@given(st.data(), histories(), policies)
def test_replays_change_nothing(data: st.DataObject, shots: list[Inspection], policy: AlertSettings) -> None:
    once = list(fold_all(accepted(shots), policy))
    again = list(fold_all(data.draw(replayed(accepted(shots))), policy))
    assert again == once


@settings(deadline=None)
@given(histories(), policies)
def test_every_incident_is_told_in_order_and_once(shots: list[Inspection], policy: AlertSettings) -> None:
    revisions: dict[str, list[Alert]] = defaultdict(list)
    for alert in fold_all(shots, policy):
        revisions[alert.alert_id].append(alert)
    for alerts in revisions.values():
        assert alerts[0].state is AlertState.OPENED
        assert all(alert.state is not AlertState.OPENED for alert in alerts[1:])
        assert [alert.revision for alert in alerts] == list(range(1, len(alerts) + 1))
        for before, after in pairwise(alerts):
            assert (before.state, after.state) != (AlertState.CLOSED, AlertState.CLOSED)
            assert after.count >= before.count
            assert after.peak_score >= before.peak_score
            assert (before.severity, after.severity) != (Severity.CRITICAL, Severity.WARNING)


@settings(deadline=None)
@given(histories(), policies)
def test_only_one_incident_is_open_at_a_time(shots: list[Inspection], policy: AlertSettings) -> None:
    open_id = None
    for alert in fold_all(shots, policy):
        assert open_id in (None, alert.alert_id)
        open_id = None if alert.state is AlertState.CLOSED else alert.alert_id


@settings(deadline=None)
@given(histories(), policies)
def test_stopping_anywhere_and_reading_the_state_back_changes_nothing(
    shots: list[Inspection], policy: AlertSettings
) -> None:
    state, alerts = CameraState(), []
    for shot in shots:
        state = msgspec.json.decode(msgspec.json.encode(state), type=CameraState)
        state, more = fold(state, shot, policy)
        alerts += more
    assert alerts == list(fold_all(shots, policy))
