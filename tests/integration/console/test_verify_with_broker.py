"""`sightline verify` and `query` on tables that Spark made, against a real `frames` topic."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
import pytest
from confluent_kafka import Producer
from typer.testing import CliRunner

from console.accounts import FrameRange
from console.answers import ask
from console.commands import app
from console.tables import open_history
from console.verify import verify
from sightline import codec, samples
from sightline.contracts import CameraEvent, CameraEventKind, DeadLetter, Frame, Inspection, Verdict
from sightline.settings import KafkaSettings, TableSettings
from streaming.tables import TABLES, create_table

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

TABLE_OF = {Inspection: "inspections", CameraEvent: "camera_events", DeadLetter: "dead_letters"}


class Line:
    """Cameras, score and history in miniature: frames on the topic, rows in tables that Spark created."""

    def __init__(self, kafka: KafkaSettings, spark: SparkSession, tables: TableSettings) -> None:
        self.kafka, self.tables, self._spark = kafka, tables, spark
        self._producer = Producer(kafka.librdkafka(log_level=2))
        self._offsets: dict[tuple[str, int], tuple[int, int]] = {}
        for table in TABLES.values():
            create_table(spark, table, tables)

    def publish(self, *frames: Frame) -> None:
        for frame in frames:
            self._send(frame.jpeg, codec.frame_headers(frame), (frame.camera, frame.sequence))

    def publish_garbage(self) -> None:
        self._send(b"?", [], ("", 0))

    def _send(self, value: bytes, headers: Any, key: tuple[str, int]) -> None:
        def delivered(error: Any, message: Any) -> None:
            assert error is None
            self._offsets[key] = (message.partition(), message.offset())

        self._producer.produce(
            self.kafka.topics.frames, value, key[0], partition=0, headers=headers, on_delivery=delivered
        )
        self._producer.flush(30)

    def store(self, *events: Inspection | CameraEvent | DeadLetter) -> None:
        for kind, name in TABLE_OF.items():
            if rows := [self._row(event) for event in events if isinstance(event, kind)]:
                frame = self._spark.createDataFrame(rows, TABLES[name].schema)
                frame.write.format("delta").mode("append").save(self.tables.path(name))

    def _row(self, event: Any) -> dict[str, Any]:
        row: dict[str, Any] = msgspec.to_builtins(event, builtin_types=(bytes, datetime))
        if not isinstance(event, CameraEvent):
            partition, offset = self._offsets[event.camera or "", event.sequence or 0]
            row["source"] = {"topic": self.kafka.topics.frames, "partition": partition, "offset": offset}
        if isinstance(event, DeadLetter):
            row |= {"headers": [], "dead_letter_id": f"{row['source']}"}
        row["day"] = row[TABLES[TABLE_OF[type(event)]].event_time].astimezone(UTC).date()
        return row


@pytest.fixture
def line(kafka: KafkaSettings, spark: SparkSession, tmp_path: Path) -> Line:
    return Line(kafka, spark, TableSettings(root=str(tmp_path / "tables")))


def frames(camera: str, sequences: Sequence[int]) -> list[Frame]:
    return [samples.frame(camera, sequence) for sequence in sequences]


def inspections(camera: str, sequences: Sequence[int]) -> list[Inspection]:
    return [samples.inspection(camera, sequence) for sequence in sequences]


def test_a_frame_is_followed_from_the_topic_into_the_tables(line: Line) -> None:
    line.publish(*frames("cam-1", range(5)))
    accounts = verify(line.tables, line.kafka)
    assert (accounts.in_flight, accounts.problems, accounts.clean) == (5, (), False)
    assert accounts.broker == line.kafka.bootstrap

    line.store(*inspections("cam-1", range(3)))
    accounts = verify(line.tables, line.kafka)
    assert (accounts.in_flight, accounts.problems) == (2, ())

    line.store(*inspections("cam-1", [4]))
    accounts = verify(line.tables, line.kafka)
    # the score query has passed 3 without a word
    assert accounts.in_flight == 0
    assert [problem.ranges for problem in accounts.problems] == [(FrameRange("cam-1", 3, 3),)]

    line.store(samples.dead_letter("cam-1", 3))
    assert verify(line.tables, line.kafka).clean


def test_a_record_without_identity_is_in_flight_then_passed_over_or_a_dead_letter(line: Line) -> None:
    line.publish(*frames("cam-1", [0]))
    line.publish_garbage()
    line.store(*inspections("cam-1", [0]))
    assert verify(line.tables, line.kafka).unplaced_in_flight == 1
    line.publish(*frames("cam-1", [1]))
    line.store(*inspections("cam-1", [1]))
    (problem,) = verify(line.tables, line.kafka).problems
    assert (problem.kind, problem.examples) == ("passed-over", ("partition 0 offset 1",))
    line.store(samples.dead_letter(None, None))
    accounts = verify(line.tables, line.kafka)
    assert accounts.clean
    assert accounts.unplaced[0].count == 1


def test_waiting_ends_as_soon_as_everything_has_landed_and_looks_no_further(line: Line) -> None:
    line.publish(*frames("cam-1", range(4)))
    line.store(*inspections("cam-1", range(2)))

    def go_on() -> None:
        time.sleep(4)
        # the line runs on while verify waits: these are the next call's business
        line.publish(*frames("cam-1", range(4, 9)))
        line.store(samples.camera_event("cam-1", CameraEventKind.HEARTBEAT, next_sequence=9))
        line.store(*inspections("cam-1", [2, 3]))

    running = threading.Thread(target=go_on)
    running.start()
    try:
        accounts = verify(line.tables, line.kafka, wait=120.0)
    finally:
        running.join()
    assert accounts.clean
    assert accounts.cameras[0].captured == 4
    assert verify(line.tables, line.kafka).in_flight == 5


def test_the_command_tells_unfinished_from_wrong_by_its_exit_code(line: Line) -> None:
    line.publish(*frames("cam-1", range(2)))
    line.store(*inspections("cam-1", [0]))
    environment = {"SIGHTLINE_KAFKA_TOPIC_PREFIX": line.kafka.topic_prefix}
    arguments = ["verify", "--root", line.tables.root, "--bootstrap", line.kafka.bootstrap]
    done = CliRunner().invoke(app, arguments, env=environment)
    assert done.exit_code == 3
    assert "1 of 2 frames of 1 camera are still on their way" in done.output
    line.store(*inspections("cam-1", [1]))
    done = CliRunner().invoke(app, arguments, env=environment)
    assert done.exit_code == 0
    assert "clean: all 2 frames" in done.output


def test_a_topic_that_does_not_exist_leaves_the_tables_to_prove(line: Line) -> None:
    line.publish(*frames("cam-1", [0]))
    line.store(*inspections("cam-1", [0]))
    accounts = verify(line.tables, line.kafka.model_copy(update={"topic_prefix": "nowhere."}))
    assert accounts.broker is None
    assert "nowhere.frames" in accounts.notes[0]


def test_duckdb_reads_what_spark_wrote_to_the_microsecond(line: Line) -> None:
    line.publish(*frames("cam-1", [7]))
    defect = samples.inspection("cam-1", 7, score=0.9, verdict=Verdict.DEFECT, label="dent")
    line.store(defect)
    (row,) = ask(open_history(line.tables), "FROM inspections").first(5).to_pylist()
    assert row["captured_at"] == defect.captured_at
    assert row["timings"]["published_at"] == defect.timings.published_at
    assert row["heat_map"]["values"] == defect.heat_map.values
    assert row["regions"] == [msgspec.to_builtins(region) for region in defect.regions]
    assert row["thumbnail"] == samples.JPEG


def test_a_filter_leaves_files_of_other_days_unread_in_spark_s_tables_too(
    line: Line, damage_rows: Callable[[Path], None]
) -> None:
    line.publish(*frames("cam-1", [0, 1_000_000]))
    line.store(*inspections("cam-1", [0, 1_000_000]))
    history = open_history(line.tables)
    for file in (Path(line.tables.path("inspections")) / "day=2026-03-03").glob("*.parquet"):
        damage_rows(file)
    asked = ask(history, "SELECT max(score) AS s FROM inspections WHERE day = DATE '2026-03-02'")
    assert asked.first(1)["s"][0].as_py() == pytest.approx(0.18)


def test_tables_tells_what_each_column_means(line: Line) -> None:
    shown = (
        CliRunner().invoke(app, ["tables", "inspections", "--root", line.tables.root], env={"COLUMNS": "150"}).output
    )
    assert "Anomaly value that 255 stands for" in shown
    listed = CliRunner().invoke(app, ["tables", "--root", line.tables.root], env={"COLUMNS": "150"}).output
    assert TABLES["inspections"].comment[:40] in listed
