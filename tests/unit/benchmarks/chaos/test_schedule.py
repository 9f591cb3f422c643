from __future__ import annotations

from benchmarks.chaos.catalogue import CATALOGUE
from benchmarks.chaos.experiment import schedule
from benchmarks.chaos.records import alarmed


def test_a_full_run_has_hundreds_of_injections_of_dozens_of_kinds() -> None:
    planned = schedule(CATALOGUE.values(), seed=0, injections=None)
    assert len(planned) >= 500
    assert len({fault.name for fault, _ in planned}) >= 25


def test_a_seed_repeats_its_run_and_another_gives_another() -> None:
    def names(seed: int) -> list[str]:
        return [own for _, own in schedule(CATALOGUE.values(), seed, injections=None)]

    assert names(3) == names(3)
    assert names(3) != names(4)
    assert len(set(names(3))) == len(names(3))


def test_a_short_run_has_each_kind_before_it_has_one_twice() -> None:
    kinds = len(CATALOGUE)
    planned = schedule(CATALOGUE.values(), seed=1, injections=kinds + 5)
    assert {fault.name for fault, _ in planned[:kinds]} == set(CATALOGUE)
    assert len({own for _, own in planned}) == kinds + 5


def test_alarms_are_added_up_and_other_lines_passed_over() -> None:
    log = (
        'WARNING: not JSON, but "records_lost": 5 in words\n{"message": "other"}\n'
        '{"query": "score", "records_lost": 17}\n{"query": "score", "records_lost": 3}\n'
    )
    assert alarmed(log) == 20
