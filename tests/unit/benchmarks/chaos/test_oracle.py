"""Made-up worlds: the oracle must say what is wrong with each, and nothing of the sound one."""

from __future__ import annotations

from collections import Counter

import pytest

from benchmarks.chaos.evidence import dead
from benchmarks.chaos.oracle import Rule, Verdict, World, incidents, judge

RULE = Rule(window=5, defects=2, close_after=3, cool_down=2.0)


def world(frames: int = 20, defects: tuple[int, ...] = (5, 6)) -> World:
    """A camera whose frames, five a second, were all inspected, but for 3 (dead letter), 8 (dropped), 9 (in doubt)."""
    keys = {("cam", number) for number in range(frames)}
    lost = {("cam", number) for number in (3, 8, 9)}
    return World(
        captured=keys,
        defects={("cam", number) for number in defects},
        cut={("cam", 3)},
        acknowledged=keys - {("cam", 8), ("cam", 9)},
        dropped={("cam", 8)},
        doubted={("cam", 9)},
        inspected=Counter(keys - lost),
        dead=Counter([("cam", 3)]),
        alerts=Counter([("cam", 5)]),
        told=Counter([("alert-5", 1), ("alert-5", 2)]),
        opened=Counter([("cam", 5)]),
        verdicts=verdicts(defects, frames, lost={3, 8, 9}),
    )


def verdicts(defects: tuple[int, ...], frames: int, lost: frozenset[int] | set[int] = frozenset()) -> list[Verdict]:
    return [Verdict("cam", n, n / 5, n in defects) for n in range(frames) if n not in lost]


def found(broken: World) -> dict[str, list[int]]:
    return {finding.kind: [sequence for _, sequence in finding.keys] for finding in judge(broken, RULE)}


def test_a_sound_world_has_no_finding() -> None:
    assert found(world()) == {}


def test_a_lost_frame() -> None:
    broken = world()
    del broken.inspected["cam", 12]
    assert found(broken) == {"lost": [12], "acknowledged and not there": [12]}


def test_an_acknowledged_frame_that_is_only_counted_as_dropped_is_lost_all_the_same() -> None:
    broken = world()
    broken.acknowledged.add(("cam", 8))
    assert found(broken) == {"acknowledged and not there": [8]}


def test_a_frame_that_was_in_doubt_may_turn_up_and_a_dropped_one_may_not() -> None:
    broken = world()
    broken.inspected["cam", 9] = 1
    assert found(broken) == {}
    broken.inspected["cam", 8] = 1
    assert found(broken) == {"counted as dropped, and there": [8]}


def test_a_second_row_of_one_frame() -> None:
    broken = world()
    broken.inspected["cam", 7] += 1
    broken.dead["cam", 3] += 1
    assert found(broken) == {"duplicated": [7], "dead-lettered twice": [3]}


def test_a_frame_that_nobody_captured() -> None:
    broken = world()
    broken.inspected["cam", 99] = 1
    broken.dead["ghost", 0] = 1
    assert found(broken) == {"never captured": [99, 0]}


def test_a_frame_with_two_fates() -> None:
    broken = world()
    broken.dead["cam", 3] = broken.inspected["cam", 3] = 1
    assert found(broken) == {"inspected and dead-lettered": [3], "cut off, and judged": [3]}


def test_a_line_that_takes_every_frame_for_a_dead_letter_is_of_no_use() -> None:
    broken = world(defects=())
    broken.dead = Counter(broken.inspected.keys() | broken.dead.keys())
    broken.inspected, broken.verdicts = Counter(), []
    broken.alerts, broken.opened = Counter(), Counter()
    assert found(broken) == {"whole, and dead-lettered": [n for n in range(20) if n not in (3, 8, 9)]}


def test_verdicts_that_do_not_fit_what_the_frames_show() -> None:
    broken = world()
    broken.verdicts = verdicts((5, 6, 14), 20, lost={3, 8, 9})
    assert found(broken) == {"judged wrongly": [14]}
    broken.verdicts = verdicts((5,), 20, lost={3, 8, 9})
    assert found(broken) == {"judged wrongly": [6], "alerted without an incident": [5]}


def test_a_number_that_two_frames_were_given() -> None:
    broken = world()
    broken.reused.add(("cam", 7))
    assert found(broken) == {"two frames of one number": [7]}


def test_a_second_alert_for_one_incident() -> None:
    broken = world()
    broken.alerts["cam", 5] += 1
    assert found(broken) == {"alerted twice": [5]}
    broken = world()
    broken.opened["cam", 5] += 1
    broken.told["alert-5", 2] += 1
    assert found(broken) == {"opened twice": [5], "revisions told twice": [2]}
    broken = world()
    broken.alerts["cam", 6] = 1
    assert found(broken) == {"alerted without an incident": [6]}


def test_an_incident_without_an_alert() -> None:
    broken = world()
    broken.alerts.clear()
    assert found(broken) == {"without an alert": [5]}


@pytest.mark.parametrize(
    ("alarmed", "kinds"), [(2, set()), (1, {"lost", "acknowledged and not there"}), (3, {"alarmed and not lost"})]
)
def test_an_alarm_excuses_as_many_frames_as_it_names(alarmed: int, kinds: set[str]) -> None:
    broken = world()
    del broken.inspected["cam", 12], broken.inspected["cam", 13]
    broken.alarmed = alarmed
    assert set(found(broken)) == kinds


@pytest.mark.parametrize(
    ("defects", "begins"),
    [
        pytest.param((5,), [], id="one defect is none"),
        pytest.param((5, 9), [5], id="two of five frames"),
        pytest.param((5, 10), [], id="two of six frames"),
        pytest.param((5, 6, 8, 12), [5], id="two clean frames do not close it, three do, and a single one opens none"),
        pytest.param((5, 6, 12, 13), [5], id="within two seconds of its close the incident goes on"),
        pytest.param((5, 6, 21, 22), [5, 21], id="later it is another one"),
    ],
)
def test_incidents_by_the_rule(defects: tuple[int, ...], begins: list[int]) -> None:
    assert [first for _, first in incidents(verdicts(defects, 30), RULE)] == begins


def test_a_silence_ends_what_was_before() -> None:
    before, after = Verdict("cam", 0, 0.0, True), Verdict("cam", 1, 2.5, True)
    assert list(incidents([before, after], RULE)) == []
    assert list(incidents([before, Verdict("cam", 1, 1.5, True)], RULE)) == [("cam", 0)]


def test_a_letter_that_is_there_twice_counts_twice_and_two_letters_of_one_frame_do_not() -> None:
    assert dead([("a", "cam", 3), ("b", "cam", 3), ("c", "cam", 4), ("c", "cam", 4)]) == {("cam", 3): 1, ("cam", 4): 2}
