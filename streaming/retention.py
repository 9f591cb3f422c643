"""Records that retention took before a query had read them: told with their number, as an error and a metric.

The line goes on without them (`failOnDataLoss` is false). A micro-batch says from which offsets to which it went, and
how many records it read, and the offsets of the topics that are watched so have no gaps: no transactions write them and
nothing compacts them. So they are counted exactly while the process lives.

How far that has been told lies in a note beside the checkpoint. A process that was killed leaves micro-batches that
nobody looked at: the next one asks the broker where the topics begin now, and tells what was in those micro-batches and
is gone. That is every record that was lost there, and as many more as were read in time and deleted since; a loss that
was told right before the kill is told again. At least once, from the first look at a new checkpoint on.
"""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Callable, Collection, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from confluent_kafka import KafkaException, TopicPartition
from confluent_kafka.admin import AdminClient, OffsetSpec

from sightline.errors import BrokerError
from sightline.settings import KafkaSettings

if TYPE_CHECKING:
    from pyspark.sql.streaming import StreamingQuery

Place = tuple[str, str]
"""Topic and partition."""
Offsets = Mapping[Place, int]

log = logging.getLogger(__name__)

_ANSWER_SECONDS = 10.0


class LossWatch:
    """Counts what one query after the other of the same name did not find; to be asked every few seconds.

    Spark keeps the progress of the last hundred micro-batches; where more lie between two looks, those before are
    counted as those of a killed process are.
    """

    def __init__(self, note: Path, beginnings: Callable[[Collection[Place]], Offsets]) -> None:
        """`note` is the file that outlives the process; `beginnings` asks for the first offsets of these partitions."""
        self._note, self._beginnings = note, beginnings
        self._run: str | None = None
        self._batch = -1
        self.total, self._told = _read(note)
        self._written = (self.total, self._told)

    def look(self, query: StreamingQuery, tell: Callable[[int], object]) -> None:
        """Tell the records lost since the last look, if any, then note that they are told.

        Raises BrokerError where the broker must be asked and does not answer, and OSError where the note cannot be
        written; the next look makes up for it.
        """
        run = str(query.runId)
        batch = self._batch if run == self._run else -1
        lost, told = 0, self._told
        for progress in reversed(list(_after(query, batch))):
            starts, ends = _sums(progress, "startOffset"), _sums(progress, "endOffset")
            lost += self._gone_between(told, starts)
            if moved := sum(end - starts[place] for place, end in ends.items() if place in starts):
                batch = max(batch, progress["batchId"])
                lost += max(0, moved - progress["numInputRows"])
            told = told | {place: end for place, end in ends.items() if place in starts or place not in told}
        self._run, self._batch, self._told = run, batch, told
        if lost:
            self.total += lost
            tell(lost)
        if self._written != (self.total, told):
            _write(self._note, self.total, told)
            self._written = (self.total, told)

    def _gone_between(self, told: Offsets, starts: Offsets) -> int:
        """Records of micro-batches that nobody looked at, and that their topic has no longer."""
        passed = {place: start for place, start in starts.items() if start > told.get(place, start)}
        if not passed:
            return 0
        first = self._beginnings(passed)
        return sum(max(0, min(start, first[place]) - told[place]) for place, start in passed.items())


def beginnings(kafka: KafkaSettings, places: Collection[Place]) -> Offsets:
    """The first offset that each partition still has. Raises BrokerError when the broker does not say."""
    asked = {TopicPartition(topic, int(number)): OffsetSpec.earliest() for topic, number in places}
    # without a name it would be gone before it has an answer, which then never comes
    admin = AdminClient(kafka.librdkafka(), logger=log)
    try:
        answers = admin.list_offsets(asked, request_timeout=_ANSWER_SECONDS)
        return {(one.topic, str(one.partition)): answer.result().offset for one, answer in answers.items()}
    except KafkaException as error:
        raise BrokerError(f"the broker does not tell where the topics begin: {error.args[0].str()}") from error


def offsets(told: Any) -> dict[Place, int]:
    """Offset of each topic and partition in a progress: an object in the JSON of the whole, a text in Spark's own."""
    found = json.loads(told) if isinstance(told, str) and told.startswith("{") else told
    if not isinstance(found, dict):
        return {}
    return {(topic, number): offset for topic, places in found.items() for number, offset in places.items()}


def _after(query: StreamingQuery, batch: int) -> Iterator[Mapping[str, Any]]:
    """Progress of the micro-batches after `batch`, the newest first."""
    # pyspark would turn all hundred into objects, field by field
    java: Any = query
    recent = java._jsq.recentProgress()
    for place in range(len(recent) - 1, -1, -1):
        progress = json.loads(recent[place].json())
        if progress["batchId"] <= batch:
            return
        yield progress


def _sums(progress: Mapping[str, Any], key: str) -> dict[Place, int]:
    return {place: offset for source in progress["sources"] for place, offset in offsets(source.get(key)).items()}


def _read(note: Path) -> tuple[int, dict[Place, int]]:
    """Nothing where there is no note yet, or none that can be read: counting begins anew."""
    try:
        found = json.loads(note.read_bytes())
        return int(found["records_lost"]), offsets(found["told_until"])
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return 0, {}


def _write(note: Path, total: int, told: Offsets) -> None:
    until: dict[str, dict[str, int]] = {}
    for (topic, number), offset in sorted(told.items()):
        until.setdefault(topic, {})[number] = offset
    partial = note.with_name(f".{note.name}.partial")
    note.parent.mkdir(parents=True, exist_ok=True)
    with partial.open("w") as file:
        json.dump({"records_lost": total, "told_until": until}, file)
        file.flush()
        os.fsync(file.fileno())
    partial.replace(note)
