"""The floor: what the cameras do just now, out of what the topics brought."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import msgspec
import pytest

from console.web import floor as module
from console.web.floor import Floor, Picture, Seen
from sightline import codec, samples
from sightline.contracts import ActionKind, CameraEventKind, Verdict

AT = samples.START.timestamp()


def seen(sequence, verdict=Verdict.OK, camera="cam-1"):
    event = samples.inspection(camera, sequence, verdict=verdict, score=0.9 if verdict is Verdict.DEFECT else 0.2)
    return msgspec.json.decode(codec.encode(event), type=Seen)


def dated(one, seconds):
    """The same frame, captured so many seconds after the start by its camera's clock."""
    return msgspec.structs.replace(one, captured_at=samples.START + timedelta(seconds=seconds))


def picture(sequence, camera="cam-1"):
    return Picture(camera=camera, sequence=sequence, captured_at=samples.START, jpeg=b"jpeg")


def row(floor, at, camera="cam-1"):
    return next(row for row in floor.cameras(0, at) if row["camera"] == camera)


def test_a_camera_says_its_last_verdict_its_rate_and_how_late_it_comes() -> None:
    floor = Floor()
    floor.tell([seen(n) for n in range(11)], AT + 3)
    found = row(floor, AT + 3)
    assert (found["verdict"], found["rate"], found["heard"]) == ("ok", 10.0, AT + 3)
    # frame 10 was captured a second after the start and came two seconds later
    assert found["late"] == 2.0
    assert found["patience"] == 5.0


def test_a_slow_camera_is_given_several_of_its_own_beats_before_it_counts_as_silent() -> None:
    floor = Floor()
    floor.tell([seen(0), seen(50), seen(100)], AT + 10)
    assert row(floor, AT + 10)["patience"] == pytest.approx(20)


def test_a_defect_stays_in_sight_for_a_moment_and_then_goes() -> None:
    floor = Floor()
    floor.tell([seen(0, Verdict.DEFECT)], AT)
    floor.tell([seen(1)], AT + 0.1)
    assert (row(floor, AT + 2.9)["worst"], row(floor, AT + 2.9)["verdict"]) == ("defect", "ok")
    assert row(floor, AT + 3.5)["worst"] == "ok"


def test_a_replay_of_older_frames_changes_no_verdict() -> None:
    floor = Floor()
    floor.tell([seen(8)], AT)
    floor.tell([seen(3, Verdict.DEFECT)], AT + 1)
    assert (row(floor, AT + 1)["verdict"], row(floor, AT + 1)["heard"]) == ("ok", AT + 1)


def test_a_camera_whose_clock_is_set_back_goes_on_being_seen() -> None:
    floor = Floor()
    floor.tell([dated(seen(n), 3600 + n / 10) for n in range(10)], AT + 3601)
    floor.tell([dated(seen(n, Verdict.DEFECT), n / 10) for n in range(10, 21)], AT + 3602)
    found = row(floor, AT + 3602)
    assert (found["verdict"], found["heard"], found["rate"]) == ("defect", AT + 3602, 10.0)


def test_one_frame_of_another_century_neither_ends_a_camera_nor_makes_its_silence_go_unnoticed() -> None:
    floor = Floor()
    floor.tell([seen(n) for n in range(10)], AT + 1)
    floor.tell([dated(seen(10), 73 * 365 * 86400)], AT + 2)
    assert row(floor, AT + 2)["patience"] == 5.0
    floor.tell([seen(11, Verdict.DEFECT)], AT + 3)
    assert (row(floor, AT + 3)["verdict"], row(floor, AT + 3)["heard"]) == ("defect", AT + 3)


def test_a_camera_that_counts_from_the_start_again_goes_on_being_seen() -> None:
    floor = Floor()
    floor.tell([seen(500)], AT)
    again = msgspec.structs.replace(seen(0, Verdict.DEFECT), source=seen(501).source)
    floor.tell([dated(again, 60)], AT + 60)
    assert row(floor, AT + 60)["verdict"] == "defect"


def test_only_what_changed_is_told_again() -> None:
    floor = Floor()
    floor.tell([seen(0), seen(0, camera="cam-2")], AT)
    version = floor.version
    floor.tell([seen(1, camera="cam-2")], AT)
    assert [row["camera"] for row in floor.cameras(version, AT)] == ["cam-2"]
    assert floor.cameras(floor.version, AT) == []


def test_a_picture_is_shown_with_the_verdict_on_that_very_frame() -> None:
    floor = Floor()
    floor.tell([seen(4), seen(5, Verdict.DEFECT)], AT)
    floor.show([picture(5)])
    (shown,) = floor.pictures(0)
    assert (shown.sequence, shown.verdict) == (5, Verdict.DEFECT)
    assert msgspec.json.decode(shown.heat_map)["rows"] == 2
    # one that was photographed before it was judged waits for its verdict
    floor.show([picture(7)])
    assert [one.sequence for one in floor.pictures(0)] == [5]
    floor.tell([seen(7, Verdict.REVIEW)], AT)
    assert [(one.sequence, one.verdict) for one in floor.pictures(shown.version)] == [(7, Verdict.REVIEW)]


def test_a_picture_that_is_never_judged_gives_way_without_a_verdict() -> None:
    floor = Floor()
    floor.tell([seen(0)], AT)
    floor.show([picture(3)])
    floor.show([picture(9)])
    assert [(one.sequence, one.verdict) for one in floor.pictures(0)] == [(3, None)]


def test_a_picture_that_comes_long_after_its_verdict_is_shown_without() -> None:
    floor = Floor()
    floor.tell([seen(n) for n in range(100)], AT)
    floor.show([picture(40)])
    assert [(one.sequence, one.verdict) for one in floor.pictures(0)] == [(40, None)]


def test_what_a_producer_reported_stands_beside_the_verdicts() -> None:
    floor = Floor()
    beat = samples.camera_event(kind=CameraEventKind.HEARTBEAT)
    # the clock was set back in between
    floor.tell([beat, replace(beat, kind=CameraEventKind.DISCONNECTED, at=beat.at - timedelta(seconds=5))], AT)
    found = row(floor, AT)
    assert (found["event"], found["verdict"], found["heard"]) == ("disconnected", None, None)


def test_the_last_answer_counts_and_neither_a_comment_nor_a_mute_is_one() -> None:
    floor = Floor()
    first = samples.operator_action()
    later = replace(first, action_id="2", kind=ActionKind.FALSE_ALARM, at=first.at + timedelta(seconds=1))
    words = replace(first, action_id="3", kind=ActionKind.COMMENT, at=first.at + timedelta(seconds=2))
    mute = replace(first, action_id="4", kind=ActionKind.MUTE, at=first.at + timedelta(seconds=3))
    floor.tell([later, first, words, mute], AT)
    assert [action.kind for action in floor.answers()] == [ActionKind.FALSE_ALARM]
    assert len(floor.actions(0)) == 3


def test_the_memory_of_cameras_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "CAMERAS", 2)
    floor = Floor()
    floor.tell([seen(0, camera="cam-1"), seen(0, camera="cam-2"), seen(1, camera="cam-1"), seen(0, camera="cam-3")], AT)
    assert set(floor.names()) == {"cam-1", "cam-3"}
