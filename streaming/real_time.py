"""Frames one by one: the score query in Spark's Real-Time Mode, where a task stays with its partition for seconds.

Planning and starting a micro-batch takes about as long as judging its frames, and here it is done once every few
seconds. Spark 4.2 does not count Python among what this mode runs. Three things make up for it (docs/adr/0010):

- Spark looks for the next row before it hands over one, so that each frame would wait for the one after it: a row of
  nothing follows every frame.
- Spark hears what Python says only once it has another frame for it: the worker writes to Kafka by itself.
- Rows that wait are taken together, so that a worker that is behind scores in batches.

Delivery: at least once. A task ends when the broker has all that it wrote; one that failed judges its frames again,
with the same ids.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable, Iterator
from functools import lru_cache
from queue import Queue
from threading import Thread
from typing import TYPE_CHECKING, Any

import pyarrow as pa
from confluent_kafka import KafkaError, KafkaException, Producer

from sightline.errors import BrokerError, SettingsError
from sightline.settings import MAX_MESSAGE_BYTES, KafkaSettings
from streaming.records import Outgoing, Record, read_records
from streaming.tally import Tally
from streaming.worker import JudgingTask, WorkerPlan

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession
    from pyspark.sql.streaming import StreamingQuery

log = logging.getLogger(__name__)

CORE_CONF = {"spark.buffer.size": "512"}
"""Keys of the JVM: a frame goes to Python as soon as so many bytes are written, which is less than any."""
SQL_CONF = {
    "spark.sql.streaming.realTimeMode.allowlistCheck": "false",
    "spark.sql.streaming.realTimeMode.minBatchDuration": "1s",
    "spark.sql.execution.arrow.maxRecordsPerBatch": "1",
}
REFRESH_SECONDS = 0.5
"""How often a worker looks for changed detectors, and tells what it left out."""

ProducerKeys = tuple[tuple[str, Any], ...]
"""Keys of a confluent-kafka client, as something that can be hashed."""


class CatchUpFirst:
    """Gives the query to run next: one that judges what waits and ends, then the one that goes on."""

    def __init__(self, catch_up: Callable[[], StreamingQuery], go_on: Callable[[], StreamingQuery]) -> None:
        self._catch_up, self._go_on = catch_up, go_on
        self._catching_up: StreamingQuery | None = None

    def __call__(self) -> StreamingQuery:
        before, self._catching_up = self._catching_up, None
        if before is not None and not before.exception():
            return self._go_on()
        self._catching_up = self._catch_up()
        return self._catching_up


def require_slots(spark: SparkSession, partitions: int) -> None:
    """Raises SettingsError where a partition would find no task slot: nobody would read it, as long as others go on."""
    context = spark.sparkContext
    if not context.master.startswith("local") or context.defaultParallelism < partitions:
        raise SettingsError(
            "[score] trigger = 'real-time' needs a task slot for each partition of `frames`, in one process: [spark] "
            f"master is {context.master!r} with {context.defaultParallelism} slots, and there are {partitions} "
            f"partitions; use local[{partitions},4], or trigger = 'micro-batch'"
        )


def producer_keys(kafka: KafkaSettings) -> ProducerKeys:
    """How the workers, which are on this machine, reach the broker."""
    return tuple(sorted(kafka.librdkafka().items()))


def one_by_one(frames: DataFrame) -> DataFrame:
    """`frames`, each with a row of nulls after it."""
    from pyspark.sql import functions as F  # noqa: N812 - as everyone calls it

    twice = frames.withColumn("whole", F.explode(F.array(F.lit(True), F.lit(False))))
    return twice.select(*(F.when(F.col("whole"), F.col(name)).alias(name) for name in frames.columns))


def score_live(
    plan: WorkerPlan, keys: ProducerKeys, report: Callable[[Tally], object] = lambda _: None
) -> Callable[[Iterator[pa.RecordBatch]], Iterator[pa.RecordBatch]]:
    """The function that `mapInArrow` runs over `one_by_one`; it gives no rows, its answers go to the broker by `keys`.

    `report` is called at the end of each task, with what was done in it.
    """

    def run(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        task, outbox = JudgingTask(plan), _outbox(keys)
        looked = time.monotonic()
        for records in as_they_come(batches, plan.batch_frames):
            if time.monotonic() - looked > REFRESH_SECONDS:
                task.refresh()
                outbox.send(task.left_out())
                looked = time.monotonic()
            for outgoing in task.judge(records):
                outbox.send(outgoing)
        outbox.send(task.left_out())
        outbox.finish()
        report(task.tally)
        yield from ()

    return run


def as_they_come(batches: Iterable[pa.RecordBatch], most: int) -> Iterator[list[Record]]:
    """The records in `batches`, those that lie there together, at most `most`; one that comes alone is given alone."""
    waiting: Queue[Record | BaseException | None] = Queue(2 * most)
    Thread(target=_read, args=(batches, waiting), name="frames", daemon=True).start()
    ended = False
    while not ended:
        records: list[Record] = []
        one = waiting.get()
        while isinstance(one, Record):
            records.append(one)
            if len(records) == most or waiting.empty():
                break
            one = waiting.get()
        if isinstance(one, BaseException):
            raise one
        ended = one is None
        if records:
            yield records


def _read(batches: Iterable[pa.RecordBatch], waiting: Queue[Record | BaseException | None]) -> None:
    try:
        for batch in batches:
            for record in read_records(batch.filter(batch.column("topic").is_valid())):
                waiting.put(record)
        waiting.put(None)
    except BaseException as error:  # noqa: BLE001 - raised where the records are waited for
        waiting.put(error)


class Outbox:
    """Writes records in their order; the broker has them all when `finish` returns."""

    def __init__(self, keys: ProducerKeys) -> None:
        """`keys` say how to reach the broker."""
        self._failed: KafkaError | None = None
        self._producer = Producer(dict(keys) | _PRODUCER, logger=log)

    def send(self, records: Iterable[Outgoing]) -> None:
        """Hand `records` over. Raises BrokerError for an earlier one that the broker did not take."""
        for record in records:
            self._produce(record)
        self._producer.poll(0)
        self._check()

    def finish(self) -> None:
        """Wait until the broker has what was sent. Raises BrokerError when it did not take a record."""
        self._producer.flush()
        self._check()

    def _produce(self, record: Outgoing) -> None:
        while True:
            try:
                self._producer.produce(
                    record.topic, record.value, record.key, headers=record.headers, on_delivery=self._delivered
                )
                return
            except BufferError:
                self._producer.poll(0.1)
            except KafkaException as error:
                raise BrokerError(f"a record of {record.topic} cannot be sent: {error.args[0].str()}") from error

    def _delivered(self, error: KafkaError | None, _message: object) -> None:
        self._failed = self._failed or error

    def _check(self) -> None:
        if self._failed:
            raise BrokerError(f"the broker did not take what was judged: {self._failed.str()} ({self._failed.name()})")


_PRODUCER = {
    "enable.idempotence": True,
    "acks": "all",
    # the partition that Java's clients would choose
    "partitioner": "murmur2_random",
    # the verdicts of one batch come within a millisecond and leave in one request
    "linger.ms": 2,
    "batch.size": 512 * 1024,
    "message.max.bytes": MAX_MESSAGE_BYTES + 1024 * 1024,
    "queue.buffering.max.kbytes": 64 * 1024,
    "delivery.timeout.ms": 120_000,
}


@lru_cache(maxsize=1)
def _outbox(keys: ProducerKeys) -> Outbox:
    return Outbox(keys)
