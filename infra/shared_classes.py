"""Classes that the JVMs of Spark and of the broker keep from one start to the next (class data sharing, JEP 350).

A start reads, checks and links ten thousand classes, for most of its ten seconds on two cores. `make` runs broker and
Spark once and lets Java write what they loaded beside the jars; whatever starts later maps that file. Java itself
passes over a file that does not fit, as after its own update, and starts as slowly as without.
"""

from __future__ import annotations

import hashlib
import logging
import os
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from infra.jars import IVY_FILE, Configuration, jar_folder
from sightline.settings import KafkaSettings

if TYPE_CHECKING:
    import subprocess

    from pyspark.sql import SparkSession

_QUIET = "-Xlog:cds*=off"
_FRAMES = 200
_RECORD = (
    "cast('camera' as binary) as key",
    "cast('frame' as binary) as value",
    "array(struct('name' as key, cast('x' as binary) as value)) as headers",
)
_EXIT_SECONDS = 120
_log = logging.getLogger(__name__)


def archive(name: Configuration, java: Path) -> Path:
    """Where the classes of one configuration lie that this `java` has loaded; the file may be absent."""
    program = java.resolve()
    made_for = f"{program} {program.stat().st_mtime_ns} {hashlib.sha256(IVY_FILE.read_bytes()).hexdigest()}"
    return jar_folder() / f"{name}-{hashlib.sha256(made_for.encode()).hexdigest()[:12]}.jsa"


def options(name: Configuration, java: Path) -> tuple[str, ...]:
    """What a JVM of this configuration is started with; nothing where its classes were not kept."""
    file = archive(name, java)
    return (f"-XX:SharedArchiveFile={file}", _QUIET) if file.is_file() else ()


def make(wanted: Sequence[Configuration], java: Path) -> list[Path]:
    """Run what is `wanted` once and keep its classes; returns the files that were made.

    Both are needed to keep those that Spark uses to talk to a broker. A Java that cannot do it makes none.
    """
    for name in wanted:
        for old in jar_folder().glob(f"{name}-*.jsa"):
            old.unlink()
    with TemporaryDirectory(prefix="sightline-classes-") as folder:
        scratch = Path(folder)
        written = {name: scratch / f"{name}.jsa" for name in wanted}
        if "broker" in written:
            _run_broker(scratch, written["broker"], written.get("spark"))
        elif "spark" in written:
            _run_spark(scratch, written["spark"], None)
        return [_keep(file, archive(name, java)) for name, file in written.items() if file.is_file()]


def _recording(file: Path) -> tuple[str, ...]:
    return (f"-XX:ArchiveClassesAtExit={file}", _QUIET)


def _keep(file: Path, place: Path) -> Path:
    # whole or not at all: a JVM may be about to start
    partial = place.with_suffix(".partial")
    partial.write_bytes(file.read_bytes())
    return partial.replace(place)


def _run_broker(scratch: Path, file: Path, spark_file: Path | None) -> None:
    from infra.broker import BrokerSettings, EmbeddedBroker
    from infra.topics import ensure_topics

    class Recorded(EmbeddedBroker):
        def _launch(self, command: list[str]) -> subprocess.Popen[bytes]:
            return super()._launch([command[0], *_recording(file), *command[1:]])

    with Recorded(BrokerSettings(folder=scratch / "kafka", stop_seconds=_EXIT_SECONDS)) as broker:
        if spark_file:
            kafka = KafkaSettings(bootstrap=broker.bootstrap)
            ensure_topics(kafka)
            _run_spark(scratch, spark_file, kafka)


def _run_spark(scratch: Path, file: Path, kafka: KafkaSettings | None) -> None:
    from infra.spark import SMALL_BATCHES, SparkSettings, build_session, session_conf

    settings = SparkSettings(folder=scratch / "spark")
    launched = session_conf(settings)["spark.driver.extraJavaOptions"]
    recorded = {"spark.driver.extraJavaOptions": " ".join((launched, *_recording(file)))}
    spark = build_session("sightline-classes", settings.model_copy(update={"conf": SMALL_BATCHES | recorded}))
    try:
        if kafka:
            _pass_on(spark, kafka, scratch)
        _tabulate(spark, scratch)
    finally:
        _end(spark)


def _pass_on(spark: SparkSession, kafka: KafkaSettings, scratch: Path) -> None:
    """As the score query does: records from a topic, through Python, to a topic."""
    frames, verdicts = kafka.topics.frames, kafka.topics.inspections
    spark.range(_FRAMES).selectExpr(*_RECORD).write.format("kafka").options(**kafka.spark(), topic=frames).save()
    source = spark.readStream.format("kafka").options(**kafka.spark(), includeHeaders="true", subscribe=frames)
    records = source.options(startingOffsets="earliest", maxOffsetsPerTrigger="50").load()
    judged = records.select("key", "value", "headers").mapInArrow(lambda batches: batches, _SCHEMA)
    query = (
        judged.writeStream.format("kafka")
        .options(**kafka.spark(), topic=verdicts, asyncProgressTrackingEnabled="true")
        .option("checkpointLocation", str(scratch / "passed-on"))
        .start()
    )
    query.processAllAvailable()
    query.stop()


_SCHEMA = "key binary, value binary, headers array<struct<key: string, value: binary>>"


def _tabulate(spark: SparkSession, scratch: Path) -> None:
    """As history does: a Delta table that a stream appends to, merged into and read."""
    from pyspark.sql import DataFrame

    for key in ("spark.sql.codegen.wholeStage", "spark.sql.codegen.factoryMode"):
        spark.conf.unset(key)
    table = str(scratch / "table")
    rows = spark.range(_FRAMES).selectExpr("id", "current_timestamp() as at", "id % 3 as kind")
    rows.write.format("delta").partitionBy("kind").save(table)
    rows.write.format("delta").save(str(scratch / "source"))

    def merge(batch: DataFrame, _number: int) -> None:
        batch.createOrReplaceTempView("batch")
        batch.sparkSession.sql(
            f"merge into delta.`{table}` t using batch b on t.id = b.id and t.kind = b.kind "
            "when not matched then insert *"
        )

    changes = spark.readStream.format("delta").load(str(scratch / "source")).selectExpr("id * 2 as id", "at", "kind")
    query = (
        changes.writeStream.foreachBatch(merge)
        .option("checkpointLocation", str(scratch / "tabulated"))
        .trigger(availableNow=True)
        .start()
    )
    query.awaitTermination()
    spark.read.format("delta").load(table).groupBy("kind").count().orderBy("kind").collect()


def _end(spark: SparkSession) -> None:
    """Stop Spark and wait for its JVM, which writes the file as the last thing that it does."""
    from pyspark import SparkContext

    spark.stop()
    gateway = SparkContext._gateway
    assert gateway is not None
    jvm: subprocess.Popen[bytes] = gateway.proc
    gateway.shutdown()
    SparkContext._gateway = SparkContext._jvm = None
    os.environ.pop("PYSPARK_GATEWAY_PORT", None)
    if jvm.stdin:
        jvm.stdin.close()
    jvm.wait(_EXIT_SECONDS)
