"""What Spark itself makes of a checkpoint that was prepared."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from streaming.checkpoints import prepare

if TYPE_CHECKING:
    from pyspark.sql import SparkSession


def test_files_on_a_local_disk_are_written_without_a_process_each(spark: SparkSession, tmp_path: Path) -> None:
    session: Any = spark.newSession()
    prepare(session, str(tmp_path))
    settings = session._jsparkSession.sessionState().newHadoopConf()
    opened = session._jvm.org.apache.hadoop.fs.Path(str(tmp_path)).getFileSystem(settings)
    assert opened.getClass().getSimpleName() == "BareLocalFileSystem"
    rates = session.readStream.format("rate").load().writeStream.format("noop")
    query = rates.option("checkpointLocation", str(tmp_path)).trigger(once=True).start()
    query.awaitTermination(60)
    assert query.exception() is None
    files = {file.relative_to(tmp_path).as_posix() for file in tmp_path.rglob("*")}
    assert {"metadata", "offsets/0", "commits/0"} <= files


def test_an_object_store_is_left_to_hadoop(spark: SparkSession) -> None:
    session = spark.newSession()
    prepare(session, "s3a://bucket/checkpoint")
    assert session.conf.get("fs.file.impl", None) is None
