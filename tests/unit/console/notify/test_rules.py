"""Who is told of what."""

from __future__ import annotations

from dataclasses import replace

import pytest

from console.notify.rules import is_wanted
from console.notify.settings import Rules
from sightline import samples
from sightline.contracts import Alert, AlertState, Severity

OPENED, UPDATED, CLOSED = AlertState.OPENED, AlertState.UPDATED, AlertState.CLOSED
WARNING, CRITICAL = Severity.WARNING, Severity.CRITICAL


def alert(state: AlertState, severity: Severity = CRITICAL) -> Alert:
    return replace(samples.alert("cam-1", state=state), severity=severity)


def told(rules: Rules, incident: list[tuple[Alert, bool]]) -> list[AlertState]:
    """States of the revisions that go out, given the whole incident and whether each was muted."""
    out: list[AlertState] = []
    for revision, muted in incident:
        if is_wanted(rules, revision, muted=muted, announced=bool(out)):
            out.append(revision.state)
    return out


def test_by_default_openings_and_closings_are_told() -> None:
    incident = [(alert(OPENED), False), (alert(UPDATED), False), (alert(CLOSED), False)]
    assert told(Rules(), incident) == [OPENED, CLOSED]


def test_an_incident_that_turns_critical_is_told_to_those_who_want_critical_ones_alone() -> None:
    incident = [
        (alert(OPENED, WARNING), False),
        (alert(UPDATED), False),
        (alert(UPDATED), False),
        (alert(CLOSED), False),
    ]
    assert told(Rules(severities=[CRITICAL]), incident) == [UPDATED, CLOSED]


def test_an_incident_that_outlasts_a_mute_is_told_after_it() -> None:
    incident = [(alert(OPENED), True), (alert(UPDATED), False), (alert(CLOSED), False)]
    assert told(Rules(), incident) == [UPDATED, CLOSED]


def test_what_was_told_as_open_is_told_as_closed_though_muted() -> None:
    assert told(Rules(), [(alert(OPENED), False), (alert(UPDATED), True), (alert(CLOSED), True)]) == [OPENED, CLOSED]


def test_nobody_hears_of_an_incident_within_a_mute() -> None:
    assert told(Rules(), [(alert(OPENED), True), (alert(CLOSED), True)]) == []
    assert told(Rules(), [(alert(OPENED), True), (alert(CLOSED), False)]) == []


def test_who_wants_closings_alone_gets_those_that_are_loud() -> None:
    rules = Rules(states=[CLOSED], severities=[CRITICAL])
    assert told(rules, [(alert(OPENED), False), (alert(CLOSED), False)]) == [CLOSED]
    assert told(rules, [(alert(CLOSED, WARNING), False)]) == []


@pytest.mark.parametrize(
    ("place", "expected"),
    [
        ({"lines": ["line-a"]}, True),
        ({"cameras": ["cam-2"]}, False),
        ({"products": ["bottle_cap"], "lines": ["b"]}, False),
    ],
)
def test_place_filters_must_all_hold(place: dict[str, list[str]], expected: bool) -> None:
    assert is_wanted(Rules.model_validate(place), alert(OPENED), muted=False, announced=False) is expected
