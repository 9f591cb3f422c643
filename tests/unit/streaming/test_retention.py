from __future__ import annotations

import json
from types import SimpleNamespace
from typing import Any

from streaming.retention import LossWatch


def progress(batch: int, start: dict[str, int] | None, end: dict[str, int], rows: int) -> Any:
    """A micro-batch from offsets to offsets of the partitions of `frames`, as Spark tells of it."""
    source = {"startOffset": start and {"frames": start}, "endOffset": {"frames": end}}
    told = {"batchId": batch, "numInputRows": rows, "sources": [source]}
    return SimpleNamespace(json=lambda: json.dumps(told))


def query(*recent: Any, run: str = "one") -> Any:
    return SimpleNamespace(runId=run, _jsq=SimpleNamespace(recentProgress=lambda: list(recent)))


def test_what_a_micro_batch_went_over_and_did_not_read_is_lost() -> None:
    watch = LossWatch()
    first = progress(0, {"0": 0, "1": 0}, {"0": 10, "1": 10}, 20)
    second = progress(1, {"0": 10, "1": 10}, {"0": 30, "1": 15}, 8)
    assert watch.look(query(first)) == 0
    assert watch.look(query(first, second)) == 17


def test_a_loss_is_told_once_and_one_of_the_next_start_anew() -> None:
    watch = LossWatch()
    lost = progress(4, {"0": 0}, {"0": 10}, 7)
    assert watch.look(query(lost)) == 3
    assert watch.look(query(lost)) == 0
    assert watch.look(query(lost, progress(5, {"0": 10}, {"0": 20}, 10))) == 0
    assert watch.look(query(progress(5, {"0": 10}, {"0": 20}, 6), run="two")) == 4


def test_a_query_that_waits_tells_of_a_batch_before_it_comes() -> None:
    watch = LossWatch()
    waiting = progress(1, {"0": 10}, {"0": 10}, 0)
    assert watch.look(query(waiting)) == 0
    assert watch.look(query(waiting, progress(1, {"0": 10}, {"0": 20}, 4))) == 6


def test_a_first_batch_begins_where_the_topic_does() -> None:
    assert LossWatch().look(query(progress(0, None, {"0": 500}, 100))) == 0
