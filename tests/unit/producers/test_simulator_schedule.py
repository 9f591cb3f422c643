"""When defects come: at the asked rate, in runs of the asked length, of one kind within a run."""

from __future__ import annotations

from itertools import groupby

import pytest

from producers.simulator.schedule import Schedule

KINDS = ("scratch", "dent", "crack")


def runs(schedule: Schedule, count: int) -> list[int]:
    """Lengths of the runs of defective frames among the first `count`."""
    fates = [schedule.plan(index) is not None for index in range(count)]
    return [len(list(group)) for bad, group in groupby(fates) if bad]


@pytest.mark.parametrize("rate", [0.02, 0.08, 0.3, 0.7, 1.0])
@pytest.mark.parametrize("mean_run", [1.0, 5.0])
def test_the_rate_is_kept(rate: float, mean_run: float) -> None:
    schedule = Schedule(3, "gear", rate, mean_run, KINDS)
    share = sum(runs(schedule, 6000)) / 6000
    assert share == pytest.approx(rate, rel=0.15)


def test_defects_come_in_runs_of_the_mean_length() -> None:
    lengths = runs(Schedule(3, "gear", 0.08, 5.0, KINDS), 8000)
    assert sum(lengths) / len(lengths) == pytest.approx(5, rel=0.15)
    assert len(set(lengths)) > 3


def test_single_defects_are_single() -> None:
    lengths = runs(Schedule(3, "gear", 0.05, 1.0, KINDS), 8000)
    assert sum(lengths) / len(lengths) < 1.2


def test_a_run_has_one_kind_and_its_parts_differ_a_little() -> None:
    schedule = Schedule(1, "gear", 0.1, 6.0, KINDS)
    plans = [schedule.plan(index) for index in range(600)]
    seen = set()
    for bad, group in groupby(plans, key=lambda plan: plan and plan.run_seed):
        if bad is None:
            continue
        run = [plan for plan in group if plan]
        assert len({plan.kind for plan in run}) == 1
        assert len({plan.severity for plan in run}) == 1
        assert len({plan.drift for plan in run}) == len(run)
        assert 0 <= run[0].severity <= 1
        seen.add(run[0].kind)
    assert seen == set(KINDS)


def test_no_rate_no_defect() -> None:
    assert runs(Schedule(3, "gear", 0.0, 5.0, KINDS), 500) == []
