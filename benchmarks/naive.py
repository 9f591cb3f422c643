"""What one would write first, to be beaten: one query that scores frames and writes a Delta table before its topic.

The same detector in the same `mapInArrow` function; what differs is that verdicts leave after the table's commit.
"""

from __future__ import annotations

import logging
from pathlib import Path
from typing import TYPE_CHECKING

from infra.spark import SparkSettings, build_session
from sightline import logs
from sightline.settings import KafkaSettings, RegistrySettings, run_folder
from streaming import score
from streaming.champions import Mirror
from streaming.records import OUTGOING_DDL
from streaming.supervise import stop_event
from streaming.worker import score_with

if TYPE_CHECKING:
    from pyspark.sql import DataFrame

log = logging.getLogger(__name__)


def main() -> None:
    """Run until SIGTERM; a stand-in for `streaming.score` in `benchmarks.line`."""
    logs.configure("score")
    stop = stop_event()
    settings, kafka = score.ScoreSettings.load(), KafkaSettings.load()
    mirror = Mirror(Path(settings.detectors), RegistrySettings.load(), settings.backend, settings.precision)
    mirror.follow()
    spark = build_session("sightline-naive", SparkSettings.load())
    mirror.require()
    table = str((run_folder() / "tables" / f"naive-{kafka.topic_prefix}").absolute())

    def write(judged: DataFrame, _batch: int) -> None:
        judged.persist()
        judged.write.format("delta").mode("append").save(table)
        judged.write.format("kafka").options(**kafka.spark()).save()
        judged.unpersist()

    frames = score.read_frames(spark, kafka, settings)
    query = (
        frames.mapInArrow(score_with(score.plan(kafka, settings)), OUTGOING_DDL)
        .writeStream.foreachBatch(write)
        .option("checkpointLocation", settings.checkpoint)
        .start()
    )
    log.info("query started")
    stop.wait()
    query.stop()
    mirror.stop()
    spark.stop()


if __name__ == "__main__":
    main()
