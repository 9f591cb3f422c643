from __future__ import annotations

import json
from collections.abc import Collection
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from prometheus_client import CollectorRegistry

from sightline.errors import BrokerError
from sightline.settings import KafkaSettings
from streaming.metrics import QueryMetrics
from streaming.query_watch import QueryWatch
from streaming.retention import LossWatch, Offsets, Place

WHOLE = {("frames", "0"): 0, ("frames", "1"): 0}


def progress(batch: int, start: dict[str, int] | None, end: dict[str, int], rows: int) -> Any:
    """A micro-batch from offsets to offsets of the partitions of `frames`, as Spark tells of it."""
    source = {"startOffset": start and {"frames": start}, "endOffset": {"frames": end}}
    told = {"batchId": batch, "numInputRows": rows, "sources": [source]}
    return SimpleNamespace(json=lambda: json.dumps(told))


def query(*recent: Any, run: str = "one") -> Any:
    return SimpleNamespace(
        runId=run, _jsq=SimpleNamespace(recentProgress=lambda: list(recent)), isActive=True, lastProgress=None
    )


def process(note: Path, first: Offsets = WHOLE) -> LossWatch:
    """The watch of a new process, at a broker whose partitions begin at `first`."""
    return LossWatch(note, lambda places: {place: first[place] for place in places})


def looked(watch: LossWatch, query: Any) -> int:
    told: list[int] = []
    watch.look(query, told.append)
    return sum(told)


@pytest.fixture
def note(tmp_path: Path) -> Path:
    return tmp_path / "checkpoint" / "losses.json"


def test_what_a_micro_batch_went_over_and_did_not_read_is_lost(note: Path) -> None:
    watch = process(note)
    first = progress(0, {"0": 0, "1": 0}, {"0": 10, "1": 10}, 20)
    second = progress(1, {"0": 10, "1": 10}, {"0": 30, "1": 15}, 8)
    assert looked(watch, query(first)) == 0
    assert looked(watch, query(first, second)) == 17


def test_a_loss_is_told_once_and_one_of_the_next_start_anew(note: Path) -> None:
    watch = process(note)
    lost = progress(4, {"0": 0}, {"0": 10}, 7)
    assert looked(watch, query(lost)) == 3
    assert looked(watch, query(lost)) == 0
    assert looked(watch, query(lost, progress(5, {"0": 10}, {"0": 20}, 10))) == 0
    assert looked(watch, query(progress(6, {"0": 20}, {"0": 30}, 6), run="two")) == 4


def test_a_query_that_waits_tells_of_a_batch_before_it_comes(note: Path) -> None:
    watch = process(note)
    waiting = progress(1, {"0": 10}, {"0": 10}, 0)
    assert looked(watch, query(waiting)) == 0
    assert looked(watch, query(waiting, progress(1, {"0": 10}, {"0": 20}, 4))) == 6


def test_a_first_batch_begins_where_the_topic_does(note: Path) -> None:
    assert looked(process(note), query(progress(0, None, {"0": 500}, 100))) == 0


@pytest.mark.parametrize("waits", [False, True])
def test_a_killed_process_that_saw_no_loss_leaves_it_to_the_next_one(note: Path, waits: bool) -> None:
    looked(process(note), query(progress(0, {"0": 0, "1": 0}, {"0": 10, "1": 10}, 20)))
    # 10 to 40 went by and nobody looked; what is before 26 is gone
    next_one = progress(5, {"0": 40, "1": 10}, {"0": 40 if waits else 50, "1": 10}, 0 if waits else 10)
    watch = process(note, {("frames", "0"): 26, ("frames", "1"): 0})
    assert looked(watch, query(next_one, run="two")) == 16
    assert looked(watch, query(next_one, run="two")) == 0
    assert watch.total == 16


def test_what_was_deleted_after_it_was_told_is_no_loss(note: Path) -> None:
    looked(process(note), query(progress(0, {"0": 0}, {"0": 10}, 10)))
    assert looked(process(note, {("frames", "0"): 8}), query(progress(3, {"0": 30}, {"0": 40}, 10), run="two")) == 0


def test_what_is_gone_of_a_batch_that_comes_again_is_told_by_that_batch(note: Path) -> None:
    looked(process(note), query(progress(0, {"0": 0}, {"0": 10}, 10)))
    # planned from 10, not done before the kill; the broker begins behind its end
    again = progress(1, {"0": 10}, {"0": 30}, 0)
    assert looked(process(note, {("frames", "0"): 35}), query(again, run="two")) == 20


def test_more_micro_batches_than_spark_remembers_are_no_hole(note: Path) -> None:
    watch = process(note, {("frames", "0"): 12})
    looked(watch, query(progress(0, {"0": 0}, {"0": 10}, 10)))
    assert looked(watch, query(progress(150, {"0": 900}, {"0": 910}, 10))) == 2


def test_a_broker_that_does_not_answer_is_asked_at_the_next_look(note: Path) -> None:
    looked(process(note), query(progress(0, {"0": 0}, {"0": 10}, 10)))
    asked: list[Collection[Place]] = []

    def beginnings(places: Collection[Place]) -> Offsets:
        asked.append(places)
        if len(asked) == 1:
            raise BrokerError("away")
        return {("frames", "0"): 15}

    watch, after = LossWatch(note, beginnings), query(progress(3, {"0": 30}, {"0": 40}, 10), run="two")
    with pytest.raises(BrokerError):
        looked(watch, after)
    assert looked(watch, after) == 5


def test_a_kill_between_telling_and_noting_tells_twice_rather_than_never(note: Path) -> None:
    looked(process(note), query(progress(0, {"0": 0}, {"0": 10}, 10)))
    lossy = query(progress(1, {"0": 10}, {"0": 30}, 4))

    def killed(_: int) -> None:
        raise SystemExit

    with pytest.raises(SystemExit):
        process(note).look(lossy, killed)
    after = query(progress(2, {"0": 30}, {"0": 40}, 10), run="two")
    assert looked(process(note, {("frames", "0"): 26}), after) == 16


def test_a_note_that_cannot_be_read_begins_anew(note: Path) -> None:
    note.parent.mkdir()
    note.write_text('{"records_lost": 3, "told_unt')
    watch = process(note)
    assert looked(watch, query(progress(7, {"0": 10}, {"0": 20}, 10))) == 0
    assert json.loads(note.read_text()) == {"records_lost": 0, "told_until": {"frames": {"0": 20}}}


def test_the_counter_begins_at_zero_and_goes_on_over_a_kill(tmp_path: Path) -> None:
    def counted(recent: Any = None) -> float | None:
        registry = CollectorRegistry()
        watch = QueryWatch(QueryMetrics(registry), KafkaSettings(bootstrap="127.0.0.1:1"))
        started = watch.following("score", lambda: query(recent), str(tmp_path))
        if recent:
            started()
            watch.look()
        return registry.get_sample_value("sightline_query_lost_records_total", {"query": "score"})

    assert counted() == 0
    assert counted(progress(0, {"0": 0}, {"0": 10}, 7)) == 3
    assert counted() == 3
