"""Runs the broker and Spark once, as the line does, so that Java can keep the classes they load (`shared_classes`).

`python -m infra.rehearsal spark broker`; Spark without a broker does not get to keep what it reads topics with.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

from pyspark import SparkContext
from pyspark.sql import DataFrame, SparkSession

from infra.broker import BrokerSettings, EmbeddedBroker
from infra.jars import Configuration, configurations, jar_folder
from infra.java import find_java
from infra.shared_classes import QUIET, archive
from infra.spark import SMALL_BATCHES, SparkSettings, build_session, session_conf
from infra.topics import ensure_topics
from sightline.settings import KafkaSettings

_FRAMES = 200
_RECORD = (
    "cast('camera' as binary) as key",
    "cast('frame' as binary) as value",
    "array(struct('name' as key, cast('x' as binary) as value)) as headers",
)
_SCHEMA = "key binary, value binary, headers array<struct<key: string, value: binary>>"
_EXIT_SECONDS = 120


def main(wanted: Sequence[Configuration]) -> None:
    """Keep the classes of `wanted`; a Java that cannot do it leaves no file."""
    java = find_java()
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
        for name, file in written.items():
            if file.is_file():
                _keep(file, archive(name, java))


def _recording(file: Path) -> tuple[str, ...]:
    return (f"-XX:ArchiveClassesAtExit={file}", QUIET)


def _keep(file: Path, place: Path) -> None:
    # whole or not at all: a JVM may be about to start
    partial = place.with_suffix(".partial")
    shutil.move(file, partial)
    partial.replace(place)


def _run_broker(scratch: Path, file: Path, spark_file: Path | None) -> None:
    class Recorded(EmbeddedBroker):
        def _launch(self, command: list[str]) -> subprocess.Popen[bytes]:
            return super()._launch([command[0], *_recording(file), *command[1:]])

    with Recorded(BrokerSettings(folder=scratch / "kafka", stop_seconds=_EXIT_SECONDS)) as broker:
        if spark_file:
            kafka = KafkaSettings(bootstrap=broker.bootstrap)
            ensure_topics(kafka)
            _run_spark(scratch, spark_file, kafka)


def _run_spark(scratch: Path, file: Path, kafka: KafkaSettings | None) -> None:
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


def _tabulate(spark: SparkSession, scratch: Path) -> None:
    """As history does: a stream into a Delta table, which is read then."""
    for key in SMALL_BATCHES:
        spark.conf.unset(key)
    source, table = str(scratch / "source"), str(scratch / "table")
    spark.range(_FRAMES).selectExpr("id", "current_timestamp() as at", "id % 3 as kind").write.format("delta").save(
        source
    )

    def append(batch: DataFrame, _number: int) -> None:
        batch.write.format("delta").mode("append").partitionBy("kind").save(table)

    query = (
        spark.readStream.format("delta")
        .load(source)
        .writeStream.foreachBatch(append)
        .option("checkpointLocation", str(scratch / "tabulated"))
        .trigger(availableNow=True)
        .start()
    )
    query.awaitTermination()
    spark.read.format("delta").load(table).groupBy("kind").count().orderBy("kind").collect()


def _end(spark: SparkSession) -> None:
    """Stop Spark and wait for its JVM, which writes the file as the last thing that it does."""
    spark.stop()
    gateway = SparkContext._gateway
    assert gateway is not None
    jvm: subprocess.Popen[bytes] = gateway.proc
    gateway.shutdown()
    if jvm.stdin:
        jvm.stdin.close()
    jvm.wait(_EXIT_SECONDS)


if __name__ == "__main__":
    main(configurations(sys.argv[1:]))
