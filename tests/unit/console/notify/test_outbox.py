"""What waits on disk: once, in order, bounded, and through a restart."""

from __future__ import annotations

from pathlib import Path

import pytest

from console.notify.outbox import Outbox, read_states
from console.notify.settings import Rules
from sightline import samples
from sightline.contracts import Alert, AlertState
from sightline.errors import PrerequisiteError

OPENED, UPDATED, CLOSED = AlertState.OPENED, AlertState.UPDATED, AlertState.CLOSED
ALL = Rules(states=list(AlertState))
SINKS = {"mes": ALL}


def incident(sequence: int, *states: AlertState) -> list[Alert]:
    return [samples.alert("cam-1", sequence, revision=n, state=state) for n, state in enumerate(states)]


def loud(_: Alert) -> bool:
    return False


def drain(outbox: Outbox, sink: str = "mes") -> list[tuple[int, int]]:
    """(first sequence, revision) of all that waits, as a receiver that takes everything sees it."""
    out = []
    while waiting := outbox.take(sink):
        outbox.done(sink, waiting)
        out += [(one.alert.first_sequence, one.alert.revision) for one in waiting]
    return out


def test_a_repeat_is_parked_once_also_after_it_was_told_and_after_a_restart(tmp_path: Path) -> None:
    first = Outbox(tmp_path, most=100)
    first.park(incident(1, OPENED, UPDATED), SINKS, loud)
    first.park(incident(1, OPENED, UPDATED), SINKS, loud)
    told = first.take("mes")
    first.done("mes", told)
    first.close()
    again = Outbox(tmp_path, most=100)
    again.park(incident(1, OPENED, UPDATED, CLOSED), SINKS, loud)
    assert drain(again) == [(1, 1), (1, 2)]
    again.close()


def test_what_was_taken_and_not_said_to_be_told_comes_again(outbox: Outbox) -> None:
    outbox.park(incident(1, OPENED), SINKS, loud)
    assert outbox.take("mes") == outbox.take("mes") != []


def test_a_failed_alert_lets_other_incidents_pass_but_not_its_own_later_revisions(tmp_path: Path, clock) -> None:
    outbox = Outbox(tmp_path, most=100, clock=clock)
    outbox.park([*incident(1, OPENED, CLOSED), *incident(9, OPENED)], SINKS, loud)
    outbox.postpone("mes", outbox.take("mes"), 30.0, "HTTP 500")
    assert drain(outbox) == [(9, 0)]
    clock.now += 31
    assert drain(outbox) == [(1, 0), (1, 1)]
    (state,) = outbox.states()
    assert (state.sent, state.failed, state.waiting, state.last_error) == (3, 1, 0, "HTTP 500")
    outbox.close()


def test_what_a_later_incident_of_its_camera_has_passed_is_known_as_overtaken_also_after_a_restart(
    tmp_path: Path, clock
) -> None:
    # the later incident is of a clock that was set back: its time says nothing
    opened, closed = incident(9, OPENED, CLOSED)
    first = Outbox(tmp_path, most=100, clock=clock)
    first.park([opened, closed], SINKS, loud)
    first.done("mes", first.take("mes"))
    assert not first.overtaken("mes", closed)
    first.postpone("mes", first.take("mes"), 30.0, "no connection")
    first.park([samples.alert("cam-2", 5)], SINKS, loud)
    assert drain(first) == [(5, 0)]
    assert not first.overtaken("mes", closed)
    first.park(incident(1, OPENED), SINKS, loud)
    assert drain(first) == [(1, 0)]
    first.close()
    again = Outbox(tmp_path, most=100, clock=clock)
    clock.now += 31
    assert [one.alert for one in again.take("mes")] == [closed]
    assert again.overtaken("mes", closed)
    assert drain(again) == [(9, 1)]
    later = incident(1, OPENED, CLOSED)
    again.park(later, SINKS, loud)
    assert not again.overtaken("mes", later[1])
    again.close()


def test_a_full_outbox_drops_updates_before_openings_and_counts_them(tmp_path: Path) -> None:
    outbox = Outbox(tmp_path, most=3)
    outbox.park([*incident(1, OPENED, UPDATED, UPDATED, CLOSED), *incident(9, OPENED)], SINKS, loud)
    assert outbox.states()[0].dropped == 2
    assert drain(outbox) == [(1, 0), (1, 3), (9, 0)]
    outbox.park([alert for n in range(5) for alert in incident(100 + n, OPENED)], SINKS, loud)
    assert drain(outbox) == [(102, 0), (103, 0), (104, 0)]
    outbox.close()


def test_one_receiver_s_full_outbox_is_nothing_to_another(tmp_path: Path) -> None:
    outbox = Outbox(tmp_path, most=2)
    sinks = {"mes": ALL, "mail": Rules(states=[OPENED])}
    outbox.park(incident(1, OPENED, UPDATED, UPDATED, CLOSED), sinks, loud)
    assert drain(outbox, "mail") == [(1, 0)]
    outbox.close()


def test_muted_alerts_are_counted_and_do_not_wait(outbox: Outbox) -> None:
    outbox.park(incident(1, OPENED, UPDATED), SINKS, lambda alert: alert.revision == 0)
    assert drain(outbox) == [(1, 1)]
    assert outbox.states()[0].muted == 1


def test_a_line_that_rests_waits_while_another_is_told(tmp_path: Path, clock) -> None:
    outbox = Outbox(tmp_path, most=100, clock=clock)
    outbox.park(incident(1, OPENED), SINKS, loud)
    outbox.done("mes", outbox.take("mes", 50), rest_seconds=900)
    outbox.park([*incident(2, OPENED), *incident(3, OPENED)], SINKS, loud)
    assert outbox.take("mes", 50) == []
    clock.now += 901
    assert [one.alert.first_sequence for one in outbox.take("mes", 50)] == [2, 3]
    outbox.close()


def test_others_cannot_read_it_and_another_process_can_tell_its_states(tmp_path: Path) -> None:
    outbox = Outbox(tmp_path / "notify", most=100)
    outbox.park(incident(1, OPENED), SINKS, loud)
    outbox.done("mes", outbox.take("mes"))
    assert (tmp_path / "notify" / "outbox.db").stat().st_mode & 0o077 == 0
    assert [(state.sink, state.sent) for state in read_states(tmp_path / "notify")] == [("mes", 1)]
    assert read_states(tmp_path / "elsewhere") == []
    outbox.close()


def test_a_folder_that_is_a_file_is_named(tmp_path: Path) -> None:
    (tmp_path / "notify").write_text("")
    with pytest.raises(PrerequisiteError, match="another place"):
        Outbox(tmp_path / "notify", most=100)
