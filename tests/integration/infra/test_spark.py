"""The Spark session that infra builds reads the real Kafka, runs Python beside it and writes Delta."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from confluent_kafka import Producer

from sightline.settings import KafkaSettings

if TYPE_CHECKING:
    import pyarrow as pa
    from pyspark.sql import SparkSession


def test_frames_go_from_kafka_through_python_into_delta(
    kafka: KafkaSettings, spark: SparkSession, tmp_path: Path
) -> None:
    producer = Producer(kafka.librdkafka())
    for number in range(20):
        producer.produce(
            kafka.topics.frames, key=f"cam-{number % 2}", value=b"\xff\xd8" * number, headers=[("n", b"1")]
        )
    assert producer.flush(10) == 0

    def measure(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        import pyarrow.compute as pc

        import sightline.codec  # noqa: F401  (a worker can import the rooms)

        for batch in batches:
            yield batch.append_column("size", pc.binary_length(batch["value"]).cast("int64"))

    frames = (
        spark.readStream.format("kafka")
        .options(**kafka.spark(), subscribe=kafka.topics.frames, startingOffsets="earliest", includeHeaders="true")
        .load()
        .select("key", "value", "timestamp")
    )
    measured = frames.mapInArrow(measure, "key binary, value binary, timestamp timestamp, size long")
    table = str(tmp_path / "table")
    query = (
        measured.writeStream.format("delta")
        .option("checkpointLocation", str(tmp_path / "checkpoint"))
        .trigger(availableNow=True)
        .start(table)
    )
    query.awaitTermination()

    rows = spark.read.format("delta").load(table)
    assert rows.count() == 20
    assert rows.agg({"size": "sum"}).first()[0] == 2 * sum(range(20))


def test_times_are_utc_whatever_the_machine_says(spark: SparkSession) -> None:
    told = spark.sql("select cast(timestamp_micros(0) as string), current_timezone()").first()
    assert told is not None
    assert told[0] == datetime.fromtimestamp(0, UTC).strftime("%Y-%m-%d %H:%M:%S")
    assert told[1] == "UTC"


def test_nothing_is_left_in_the_working_folder(spark: SparkSession, tmp_path: Path) -> None:
    spark.range(3).write.saveAsTable("left_behind")
    try:
        where = spark.sql("describe extended left_behind").filter("col_name = 'Location'").first()
        assert where is not None
        assert "/run" in where["data_type"]
        assert not Path("spark-warehouse").exists()
        assert not Path("metastore_db").exists()
    finally:
        spark.sql("drop table left_behind")
