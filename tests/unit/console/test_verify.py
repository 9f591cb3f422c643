"""`sightline verify`: what balances, and what is named when it does not."""

from __future__ import annotations

import json
import threading
from dataclasses import replace
from datetime import timedelta

import pytest
from typer.testing import CliRunner

from console.accounts import Accounts, FrameRange
from console.commands import app
from console.verify import verify
from sightline import samples
from sightline.contracts import AlertState, CameraEventKind, DropReason, Reason, SourceOffset, Verdict
from sightline.errors import TableError

DEFECT = {"score": 0.913, "verdict": Verdict.DEFECT}


def prove(history) -> Accounts:
    return verify(history.settings)


def problems(accounts: Accounts) -> dict[str, int]:
    return {problem.kind: problem.count for problem in accounts.problems}


def camera(accounts: Accounts, name: str = "cam-1"):
    return next(account for account in accounts.cameras if account.camera == name)


@pytest.fixture
def line(history):
    """Two cameras of ten frames: on cam-1 a drop (3–4), a dead letter (5) and a defect (7) with its alert."""
    history.create()
    defect = samples.inspection("cam-1", 7, **DEFECT)
    history.write(*(samples.inspection("cam-1", n) for n in (0, 1, 2, 6, 8, 9)), defect)
    history.archive(defect)
    history.write(
        *(samples.inspection("cam-2", n) for n in range(10)),
        samples.camera_event("cam-1", next_sequence=5, first=3, last=4, reason=DropReason.QUEUE_FULL),
        samples.camera_event("cam-1", CameraEventKind.STOPPED, next_sequence=10),
        samples.camera_event("cam-2", CameraEventKind.STOPPED, next_sequence=10),
        samples.dead_letter("cam-1", 5, offset=5),
        samples.alert("cam-1", 7, state=AlertState.CLOSED),
    )
    return history


def test_a_line_where_every_frame_has_one_fate_is_clean(line) -> None:
    accounts = prove(line)
    assert accounts.clean
    one = camera(accounts)
    assert (one.captured, one.inspected, one.dead_lettered, one.dropped, one.missing) == (10, 7, 1, 2, 0)
    assert [(lost.kind, lost.reason, lost.frames) for lost in one.lost] == [("dropped", "queue-full", 2)]


def test_waiting_starts_before_there_is_any_table(history) -> None:
    events = [samples.inspection("cam-1", n) for n in range(3)]
    late = threading.Timer(0.5, history.write, events)
    late.start()
    accounts = verify(history.settings, wait=60.0)
    late.join()
    assert accounts.clean
    assert camera(accounts).inspected == 3


def test_missing_frames_are_named_as_ranges(line) -> None:
    line.write(*(samples.inspection("cam-1", n) for n in (12, 13, 20)))
    accounts = prove(line)
    missing = next(problem for problem in accounts.problems if problem.kind == "missing")
    assert missing.count == camera(accounts).missing == 8
    assert missing.ranges == (FrameRange("cam-1", 10, 11), FrameRange("cam-1", 14, 19))


def test_frames_lost_at_the_very_end_are_noticed_by_the_last_report(line) -> None:
    line.write(samples.camera_event("cam-2", CameraEventKind.STOPPED, next_sequence=12))
    accounts = prove(line)
    assert accounts.problems[0].ranges == (FrameRange("cam-2", 10, 11),)


def test_a_camera_of_which_only_the_reports_exist_is_missing_from_its_first_frame(line) -> None:
    line.write(samples.camera_event("cam-3", CameraEventKind.STOPPED, next_sequence=4))
    assert prove(line).problems[0].ranges == (FrameRange("cam-3", 0, 3),)


def test_a_second_row_for_a_frame_is_a_duplicate(line) -> None:
    line.write(samples.inspection("cam-2", 4))
    accounts = prove(line)
    assert problems(accounts) == {"duplicated": 1}
    assert camera(accounts, "cam-2").duplicated == 1
    assert camera(accounts, "cam-2").missing == 0


def test_a_sequence_that_restarted_is_told_from_a_duplicate(line) -> None:
    again = samples.inspection("cam-2", 0)
    line.write(replace(again, captured_at=again.captured_at + timedelta(hours=1)))
    accounts = prove(line)
    assert problems(accounts) == {"restarted": 1}
    assert accounts.problems[0].ranges == (FrameRange("cam-2", 0, 0),)


def test_a_frame_with_two_fates_is_a_fault(line) -> None:
    line.write(samples.dead_letter("cam-2", 4, offset=104))
    accounts = prove(line)
    assert problems(accounts) == {"accounted-twice": 1}
    assert accounts.problems[0].ranges == (FrameRange("cam-2", 4, 4),)


def test_a_dead_letter_that_was_replayed_and_inspected_has_one_fate(line) -> None:
    frame = samples.inspection("cam-2", 10)
    line.write(
        samples.dead_letter("cam-2", 10, offset=104),
        replace(frame, source=SourceOffset(topic="frames", partition=frame.source.partition, offset=5000)),
    )
    accounts = prove(line)
    assert "accounted-twice" not in problems(accounts)
    two = camera(accounts, "cam-2")
    assert (two.inspected, two.dead_lettered, two.missing) == (11, 0, 0)


def test_a_frame_that_was_dropped_for_certain_must_not_turn_up(line) -> None:
    line.write(samples.camera_event("cam-2", next_sequence=7, first=6, last=6, reason=DropReason.OVERSIZE))
    assert problems(prove(line)) == {"accounted-twice": 1}


def test_a_frame_in_doubt_counts_as_dropped_unless_it_turns_up(line) -> None:
    doubt = {"kind": CameraEventKind.IN_DOUBT, "reason": DropReason.PRODUCER_CRASH}
    line.write(samples.camera_event("cam-2", next_sequence=14, first=8, last=13, **doubt))
    accounts = prove(line)
    assert accounts.clean
    two = camera(accounts, "cam-2")
    assert (two.captured, two.inspected, two.dropped, two.turned_up) == (14, 10, 4, 2)
    assert two.lost[0].kind == "in-doubt"


def test_a_frame_that_was_left_out_counts_once_and_not_if_a_replay_judged_it(line) -> None:
    shed = {"kind": CameraEventKind.SHED, "reason": DropReason.OVERLOAD}
    line.write(
        samples.camera_event("cam-2", next_sequence=14, first=8, last=13, **shed),
        # a replay left out some of the same, and its producer was in doubt about others
        samples.camera_event("cam-2", next_sequence=13, first=10, last=12, **shed),
        samples.camera_event(
            "cam-2",
            next_sequence=14,
            first=12,
            last=13,
            kind=CameraEventKind.IN_DOUBT,
            reason=DropReason.PRODUCER_CRASH,
        ),
    )
    accounts = prove(line)
    assert accounts.clean
    two = camera(accounts, "cam-2")
    assert (two.captured, two.inspected, two.dropped, two.turned_up) == (14, 10, 4, 2)
    assert [(lost.kind, lost.reason, lost.frames) for lost in two.lost] == [("shed", "overload", 4)]


def test_a_dead_letter_without_identity_explains_no_frame(line) -> None:
    line.write(
        samples.camera_event("cam-2", CameraEventKind.STOPPED, next_sequence=11),
        samples.dead_letter(None, None, offset=900),
        replace(samples.dead_letter("cam-2", None, offset=901), reason=Reason.BAD_HEADER),
    )
    accounts = prove(line)
    assert problems(accounts) == {"missing": 1}
    (unplaced,) = accounts.unplaced
    assert (unplaced.topic, unplaced.partition, unplaced.first_offset, unplaced.count) == ("frames", 0, 900, 2)
    assert unplaced.reasons == ("bad-header", "truncated")


def test_an_event_that_history_refused_is_no_frame(line) -> None:
    refused = samples.dead_letter("cam-2", 3, offset=7)
    line.write(replace(refused, stage="history", source=SourceOffset(topic="inspections", partition=0, offset=7)))
    accounts = prove(line)
    assert accounts.clean
    assert accounts.unplaced[0].topic == "inspections"


def test_a_defect_whose_picture_was_not_kept_is_named(line) -> None:
    line.write(samples.inspection("cam-2", 10, score=0.6, verdict=Verdict.REVIEW))
    accounts = prove(line)
    assert problems(accounts) == {"not-archived": 1}
    assert accounts.problems[0].examples == ("cam-2 10",)


@pytest.mark.parametrize(
    "change",
    [
        {"detector": replace(samples.DETECTOR, version="")},
        {"detector": replace(samples.DETECTOR, digest="")},
        {"threshold": float("nan"), "verdict": Verdict.OK},
    ],
)
def test_a_verdict_without_detector_or_threshold_is_named(line, change) -> None:
    line.write(replace(samples.inspection("cam-2", 10), **change))
    assert "no-detector" in problems(prove(line))


def test_a_verdict_against_its_threshold_is_named(line) -> None:
    line.write(samples.inspection("cam-2", 10, score=0.99))
    assert problems(prove(line)) == {"verdict-against-threshold": 1}


def test_one_incident_has_one_alert(line) -> None:
    line.write(samples.alert("cam-1", 7, state=AlertState.CLOSED))
    assert problems(prove(line)) == {"repeated-in-alerts": 1}


def test_two_open_incidents_on_a_camera_are_a_fault(line) -> None:
    line.write(*(samples.inspection("cam-2", n, **DEFECT) for n in (10, 11)))
    line.archive(*(samples.inspection("cam-2", n, **DEFECT) for n in (10, 11)))
    line.write(samples.alert("cam-2", 10), samples.alert("cam-2", 11))
    assert problems(prove(line)) == {"several-open": 1}


def test_an_alert_of_a_frame_that_was_no_defect_is_a_fault(line) -> None:
    line.write(samples.alert("cam-2", 3, state=AlertState.CLOSED))
    assert problems(prove(line)) == {"alert-without-defect": 1}


def test_a_camera_name_cannot_break_the_sql(history) -> None:
    name = "o'brien \"; DROP TABLE x"
    history.create()
    history.write(samples.inspection(name, 0), samples.camera_event(name, next_sequence=2, first=1, last=1))
    accounts = prove(history)
    assert accounts.clean
    assert camera(accounts, name).lost[0].reason == "unknown"


def test_the_largest_sequence_is_no_overflow(history) -> None:
    history.create()
    history.write(samples.dead_letter("cam-1", 2**63 - 1))
    accounts = prove(history)
    assert camera(accounts).captured == 2**63
    assert problems(accounts) == {"missing": 2**63 - 1}


def test_tables_that_are_not_there_are_noted(history) -> None:
    history.write(samples.inspection("cam-1", 0))
    accounts = prove(history)
    assert accounts.clean
    assert any("'camera_events'" in note for note in accounts.notes)


def test_without_inspections_there_is_nothing_to_prove(history) -> None:
    history.write(samples.alert())
    with pytest.raises(TableError, match="'inspections'"):
        prove(history)


def test_the_command_exits_by_the_verdict_and_names_what_is_missing(line) -> None:
    arguments = ["verify", "--tables-only", "--root", line.settings.root]
    done = CliRunner().invoke(app, arguments)
    assert done.exit_code == 0
    assert "clean: all 20 frames of 2 cameras are accounted for" in done.output
    line.write(samples.inspection("cam-1", 12))
    done = CliRunner().invoke(app, arguments)
    assert done.exit_code == 1
    assert "cam-1 10–11" in done.output
    plain = json.loads(CliRunner().invoke(app, [*arguments, "--json"]).output)
    assert plain["clean"] is False
    assert plain["problems"][0]["ranges"] == [{"camera": "cam-1", "first": 10, "last": 11}]


def test_a_broker_that_is_not_there_is_said_and_the_tables_are_proved(line) -> None:
    done = CliRunner().invoke(app, ["verify", "--root", line.settings.root, "--bootstrap", "127.0.0.1:1"])
    assert done.exit_code == 0
    assert "proved from the tables alone: no Kafka broker answers at 127.0.0.1:1" in done.output
