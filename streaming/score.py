"""The score query: frames in, verdicts out, and no table on the way.

Delivery: at least once. Asynchronous progress lets a restart repeat some micro-batches; the ids are the same, and the
incident fold and `history` drop what they have seen (docs/adr/0001).
"""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, ClassVar, Literal

from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient
from pydantic import BaseModel, ConfigDict, Field

from infra.spark import SMALL_BATCHES, SparkSettings, build_session
from models.registry import CHALLENGER, CHAMPION
from models.runtime.scorer import Backend, Precision
from models.runtime.view import View, open_view
from sightline import logs
from sightline.errors import BrokerError, DetectorError, SettingsError
from sightline.kafka_refusal import refusal
from sightline.metrics import MetricsServer, MetricsSettings, new_registry
from sightline.settings import MAX_MESSAGE_BYTES, KafkaSettings, RegistrySettings, Section, run_folder
from streaming.champions import POINTERS, Mirror
from streaming.checkpoints import prepare
from streaming.detectors import read_pointer
from streaming.metrics import QueryMetrics, ScoreMetrics
from streaming.query_watch import QueryWatch
from streaming.real_time import CORE_CONF, SQL_CONF, CatchUpFirst, one_by_one, producer_keys, require_slots, score_live
from streaming.records import OUTGOING_DDL
from streaming.shedding import Policy
from streaming.supervise import keep_running, stop_event
from streaming.tally import Tally, TallySum
from streaming.worker import Decoder, WorkerPlan, score_with

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession
    from pyspark.sql.streaming import DataStreamWriter, StreamingQuery

log = logging.getLogger(__name__)

Trigger = Literal["micro-batch", "real-time"]

RECORD_COLUMNS = ("key", "value", "headers", "topic", "partition", "offset", "timestamp")


class ViewSettings(BaseModel):
    """What is looked at of one camera's frames, in pixels of the frame as captured."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    region: tuple[int, int, int, int] | None = None
    """x, y, width and height of the part that is cut out; all of the frame without it."""
    mask: Path | None = None
    """A PNG of the frame's size: white is looked at, black is left aside."""


class ScoreSettings(Section):
    """How frames are judged."""

    section: ClassVar[str] = "score"

    decode: Decoder = "cpu"
    """What decodes JPEGs: libjpeg-turbo, frame by frame, or nvJPEG on the worker's GPU, a batch at a time."""
    backend: Backend = "openvino"
    precision: Precision = "fp32"
    """How it computes: OpenVINO also in `bf16` where the CPU can, TensorRT also in `fp16`."""
    threads: Annotated[int, Field(ge=1, le=64)] = 1
    """Threads of one detector; with one worker process per core, one."""
    batch_frames: Annotated[int, Field(ge=1, le=256)] = 4
    """Frames that are decoded and scored together, and leave together: a CPU gains nothing from more; a GPU does."""
    max_frames_per_trigger: Annotated[int, Field(ge=1)] = 512
    shed: Policy = "off"
    """Under overload: `off` judges every frame, however late; `thin` judges one in 2, 4, 8… of each camera, the fewer
    the later they are; `newest` none that is later than the bound. What is left out is counted, never silent."""
    max_lag_seconds: Annotated[float, Field(gt=0, le=86_400)] = 10.0
    """How long a frame may have lain at the broker before `shed` takes effect."""
    archive_ok_fraction: Annotated[float, Field(ge=0, le=1)] = 0.02
    """Share of good frames that is kept; every defect and review is."""
    shadow_fraction: Annotated[float, Field(ge=0, le=1)] = 0.0
    """Share of the frames that challengers score too, 0 for none: each costs the second detector's time."""
    views: dict[str, ViewSettings] = Field(default_factory=dict)
    """Regions and masks, by camera."""
    detectors: str = Field(default_factory=lambda: str((run_folder() / "detectors").absolute()))
    """Folder of mirrored detectors, on storage that every worker host sees."""
    checkpoint: str = Field(default_factory=lambda: str((run_folder() / "checkpoints" / "score").absolute()))
    async_progress: bool = True
    trigger: Trigger = "micro-batch"
    """`real-time` judges frames one by one, in Spark's Real-Time Mode: a sixth of the latency where the cores keep up.
    It needs a task slot for each partition of `frames`, in one process (`[spark] master = "local[N,4]"`)."""
    real_time_seconds: Annotated[int, Field(ge=1, le=60)] = 5
    """How long a task stays with its partition in that mode: what a crash lets be judged again."""


def main() -> None:
    """Run until SIGTERM or Ctrl-C; a query that fails is started again, with growing pauses."""
    logs.configure("score")
    stop = stop_event()
    settings, kafka = ScoreSettings.load(), KafkaSettings.load().for_role("scorer")
    seen = [view for _, view in views(settings)]
    folder, registry, measured = Path(settings.detectors), RegistrySettings.load(), MetricsSettings.load()
    champions = Mirror(folder, registry, settings.backend, settings.precision, views=seen)
    challengers = Mirror(folder, registry, settings.backend, settings.precision, alias=CHALLENGER, views=seen)
    champions.follow()
    if settings.shadow_fraction:
        challengers.follow()
    # One thread a worker: more only fight for the cores that the other workers have.
    os.environ.update(OMP_NUM_THREADS=str(settings.threads), OPENBLAS_NUM_THREADS="1")
    session = SparkSettings.load()
    # the registry is asked while the JVM starts
    core = CORE_CONF if settings.trigger == "real-time" else {}
    spark = build_session(
        "sightline-score", session.model_copy(update={"conf": SMALL_BATCHES | _WORKERS | core | session.conf})
    )
    champions.require()
    tally = spark.sparkContext.accumulator(Tally(), TallySum(measured.cameras))
    metrics = new_registry("score")
    ScoreMetrics(
        metrics,
        tally=lambda: tally.value,
        detectors=lambda: in_force(folder),
        refused=lambda: {CHAMPION: champions.refused, CHALLENGER: challengers.refused},
    )
    try:
        with MetricsServer("score", metrics, measured), QueryWatch(QueryMetrics(metrics), kafka) as watch:
            warm_up(spark, kafka, settings)
            keep_running(
                {"score": watch.following("score", starts(spark, kafka, settings, tally.add), settings.checkpoint)},
                stop,
                explain=partial(refusal, kafka),
            )
    finally:
        champions.stop()
        challengers.stop()
        spark.stop()
    log.info("stopped")


def warm_up(spark: SparkSession, kafka: KafkaSettings, settings: ScoreSettings) -> None:
    """Run the query's own steps over no frame at all, one task a slot: the first frame finds its detector loaded.

    Without it the frames of the first half minute waited for the JVM to learn the way and for the workers to start.
    """
    began, slots = time.monotonic(), spark.sparkContext.defaultParallelism
    no_frames = spark.range(0, slots, 1, slots).where("id < 0").selectExpr(*_NO_FRAME)
    if settings.trigger == "real-time":
        judge = score_live(plan(kafka, settings), producer_keys(kafka))
        no_frames.mapInArrow(judge, OUTGOING_DDL).write.format("noop").mode("overwrite").save()
    else:
        judge = score_with(plan(kafka, settings))
        no_frames.mapInArrow(judge, OUTGOING_DDL).write.format("kafka").options(**kafka.spark(), **_SINK).save()
    log.info("warmed up", extra={"workers": slots, "seconds": round(time.monotonic() - began, 1)})


def start(
    spark: SparkSession,
    kafka: KafkaSettings,
    settings: ScoreSettings,
    report: Callable[[Tally], object] = lambda _: None,
) -> StreamingQuery:
    """Read frames, judge them in the workers, write inspections, dead letters and archive records.

    `report` is called in the workers, with what each task has done.
    """
    write = _micro_batches
    if settings.trigger == "real-time":
        # of its own, for its keys
        spark, write = spark.newSession(), _real_time
    prepare(spark, settings.checkpoint)
    return write(spark, kafka, settings, report).queryName("score").start(checkpointLocation=settings.checkpoint)


def starts(
    spark: SparkSession, kafka: KafkaSettings, settings: ScoreSettings, report: Callable[[Tally], object]
) -> Callable[[], StreamingQuery]:
    """What gives the query to run next, at the start and whenever one has ended.

    In real time that is one of micro-batches first, for what waits: Real-Time Mode stops at frames that retention took.
    """
    query = partial(start, spark, kafka, settings, report)
    if settings.trigger == "micro-batch":
        return query
    return CatchUpFirst(partial(catch_up, spark, kafka, settings, report), query)


def catch_up(
    spark: SparkSession, kafka: KafkaSettings, settings: ScoreSettings, report: Callable[[Tally], object]
) -> StreamingQuery:
    """Judge what waits now, in micro-batches, and end."""
    prepare(spark, settings.checkpoint)
    batches = settings.model_copy(update={"trigger": "micro-batch", "async_progress": False})
    writer = _micro_batches(spark, kafka, batches, report).trigger(availableNow=True)
    return writer.queryName("score").start(checkpointLocation=settings.checkpoint)


def _micro_batches(
    spark: SparkSession, kafka: KafkaSettings, settings: ScoreSettings, report: Callable[[Tally], object]
) -> DataStreamWriter:
    judged = read_frames(spark, kafka, settings).mapInArrow(score_with(plan(kafka, settings), report), OUTGOING_DDL)
    return (
        judged.writeStream.format("kafka")
        .options(**kafka.spark(), **_SINK)
        .option("asyncProgressTrackingEnabled", str(settings.async_progress).lower())
    )


def _real_time(
    spark: SparkSession, kafka: KafkaSettings, settings: ScoreSettings, report: Callable[[Tally], object]
) -> DataStreamWriter:
    require_slots(spark, _partitions(kafka))
    for key, value in SQL_CONF.items():
        spark.conf.set(key, value)
    judge = score_live(plan(kafka, settings), producer_keys(kafka), report)
    judged = one_by_one(read_frames(spark, kafka, settings)).mapInArrow(judge, OUTGOING_DDL)
    return (
        judged.writeStream.format("noop").outputMode("update").trigger(realTime=f"{settings.real_time_seconds} seconds")
    )


def _partitions(kafka: KafkaSettings) -> int:
    """How many the frames topic has. Raises BrokerError when the broker does not say."""
    topic = kafka.topics.frames
    try:
        found = AdminClient(kafka.librdkafka()).list_topics(topic, timeout=10).topics[topic]
    except KafkaException as error:
        raise BrokerError(f"the broker does not tell of {topic}: {error.args[0].str()}") from error
    return len(found.partitions)


def in_force(folder: Path) -> Iterator[tuple[str, str, str, str]]:
    """Product, alias, version and digest of each mirrored detector; a pointer file that cannot be read has none."""
    for alias, pointer in POINTERS.items():
        try:
            bundles = read_pointer(folder / pointer)
        except (DetectorError, OSError):
            continue
        for product, bundle in bundles.items():
            yield product, alias, bundle.version, bundle.digest


def plan(kafka: KafkaSettings, settings: ScoreSettings) -> WorkerPlan:
    """The part of the settings that the workers need."""
    return WorkerPlan(
        detectors=settings.detectors,
        topic_prefix=kafka.topic_prefix,
        decode=settings.decode,
        backend=settings.backend,
        precision=settings.precision,
        threads=settings.threads,
        batch_frames=settings.batch_frames,
        archive_ok_fraction=settings.archive_ok_fraction,
        shadow_fraction=settings.shadow_fraction,
        views=views(settings),
        shed=settings.shed,
        max_lag_seconds=settings.max_lag_seconds,
    )


def views(settings: ScoreSettings) -> tuple[tuple[str, View], ...]:
    """The view of each camera that has one; raises SettingsError for a region or a mask that cannot be right."""
    found = []
    for camera, given in settings.views.items():
        key = f"[score.views.{camera}] "
        if not (given.region or given.mask):
            raise SettingsError(f"{key}has neither region nor mask; give it one, or remove it")
        found.append((camera, open_view(given.region, given.mask, key)))
    return tuple(found)


def read_frames(spark: SparkSession, kafka: KafkaSettings, settings: ScoreSettings) -> DataFrame:
    """The records of the frames topic, headers included."""
    source = spark.readStream.format("kafka").options(**kafka.spark(), **_SOURCE)
    if settings.trigger == "micro-batch":
        source = source.option("maxOffsetsPerTrigger", settings.max_frames_per_trigger)
    return source.option("subscribe", kafka.topics.frames).load().select(*RECORD_COLUMNS)


_WORKERS = {"spark.python.daemon.module": "streaming.daemon"}
_NO_FRAME = (
    "cast(null as binary) as key",
    "cast(null as binary) as value",
    "cast(null as array<struct<key: string, value: binary>>) as headers",
    "'' as topic",
    "0 as partition",
    "id as offset",
    "timestamp_millis(0) as timestamp",
)
_SOURCE = {
    "startingOffsets": "earliest",
    "includeHeaders": "true",
    # Frames that retention took are gone: the line goes on, `sightline verify` names them.
    "failOnDataLoss": "false",
    # Spark looks up the topic's ends after each poll, which throws away what the consumer had fetched ahead: a small
    # piece wastes less. A larger frame comes alone.
    "kafka.max.partition.fetch.bytes": str(2 * 1024 * 1024),
    "kafka.fetch.max.wait.ms": "50",
}
_SINK = {
    "kafka.acks": "all",
    # the verdicts of one batch come within a millisecond and leave in one request: one each cost the broker, and the
    # readers that it woke each time, more than all else
    "kafka.linger.ms": "3",
    "kafka.batch.size": str(512 * 1024),
    "kafka.max.request.size": str(MAX_MESSAGE_BYTES + 1024 * 1024),
    "kafka.buffer.memory": str(64 * 1024 * 1024),
}


if __name__ == "__main__":
    main()
