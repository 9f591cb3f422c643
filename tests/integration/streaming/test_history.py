"""Topics into Delta tables: every record once, whatever happens to the job; bad records beside, not in the way."""

from __future__ import annotations

import shutil
import threading
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from confluent_kafka import Message, Producer, TopicPartition
from confluent_kafka.admin import AdminClient
from deltalake import DeltaTable
from pyspark.sql import SparkSession

from sightline import codec
from sightline.contracts import (
    ActionKind,
    Alert,
    AlertState,
    CameraEvent,
    CameraEventKind,
    DeadLetter,
    DetectorRef,
    Frame,
    HeatMap,
    Inspection,
    OperatorAction,
    Quality,
    Reason,
    Region,
    Severity,
    ShadowInspection,
    SourceOffset,
    Timings,
    Verdict,
)
from sightline.metrics import new_registry
from sightline.settings import KafkaSettings, TableSettings
from streaming import history
from streaming.dead_letters import letter_id
from streaming.history import HistorySettings
from streaming.history_write import TableWriter
from streaming.maintenance import MaintenanceSettings, optimize
from streaming.metrics import QueryMetrics
from streaming.query_watch import QueryWatch
from streaming.tables import TABLES, create_table

NOON = datetime(2026, 11, 1, 12, 0, 0, 123456, tzinfo=UTC)
DETECTOR = DetectorRef(name="sightline.cap", version="1", digest="abc")


def inspection(sequence: int, *, camera: str = "cam", version: str = "1") -> Inspection:
    captured = NOON + timedelta(milliseconds=100 * sequence)
    return Inspection(
        inspection_id=codec.digest_id(camera, sequence, captured, version),
        line="line-1",
        camera=camera,
        sequence=sequence,
        captured_at=captured,
        product="cap",
        width=640,
        height=480,
        score=1.5,
        threshold=1.0,
        verdict=Verdict.DEFECT,
        detector=replace(DETECTOR, version=version),
        quality=Quality(blur=10.5, exposure=100.0),
        timings=Timings(ingested_at=captured, decoded_at=captured, scored_at=captured),
        source=SourceOffset(topic="frames", partition=1, offset=sequence),
        heat_map=HeatMap(rows=2, cols=2, scale=2.0, values=b"\0\x7f\xff\1"),
        regions=(Region(x=1, y=2, width=3, height=4, peak=1.5),),
        label="scratch",
        thumbnail=b"\xff\xd8 picture",
    )


def alert(revision: int, state: AlertState, *, count: int) -> Alert:
    return Alert(
        alert_id="a1",
        revision=revision,
        state=state,
        severity=Severity.WARNING,
        line="line-1",
        camera="cam",
        product="cap",
        opened_at=NOON,
        updated_at=NOON + timedelta(seconds=revision),
        first_sequence=0,
        last_sequence=count,
        count=count,
        peak_score=1.5,
        peak_sequence=0,
        threshold=1.0,
        detector=DETECTOR,
    )


class Plant:
    """The topics at one end and the tables at the other."""

    def __init__(self, kafka: KafkaSettings, spark: SparkSession, folder: Path) -> None:
        self.kafka, self.spark = kafka, spark
        self.tables = TableSettings(root=str(folder / "tables"))
        self.settings = HistorySettings(checkpoints=str(folder / "checkpoints"), trigger_seconds=0.2)
        self._producer = Producer(kafka.librdkafka(log_level=0))
        self._partitions: dict[str, int] = {}

    def send(self, topic: str, key: str, value: bytes, headers: codec.Headers | None = None) -> None:
        self._producer.produce(topic, key=key, value=value, headers=headers, on_delivery=self._arrived)
        assert self._producer.flush(30) == 0

    def _arrived(self, error: object, message: Message) -> None:
        assert error is None
        self._partitions[message.topic()] = message.partition()

    def inspect(self, *inspections: Inspection) -> None:
        for one in inspections:
            self.send(self.kafka.topics.inspections, one.camera, codec.encode(one))

    def catch_up(self, *names: str, watch: QueryWatch | None = None) -> None:
        """Fill these tables, or all."""
        never = threading.Event()
        history.catch_up(self.spark, self.kafka, self.tables, self.settings, never, names or tuple(TABLES), watch)

    def caught_up_and_told_lost(self) -> float | None:
        """Fill `inspections` as a process of its own; how many records all have told to be lost by then."""
        metrics = new_registry("history")
        with QueryWatch(QueryMetrics(metrics), self.kafka) as watch:
            self.catch_up("inspections", watch=watch)
        return metrics.get_sample_value("sightline_query_lost_records_total", {"query": "inspections"})

    def forget(self, first: int) -> None:
        """Delete what is before an offset of the partition of the last inspection, as retention does."""
        topic = self.kafka.topics.inspections
        admin = AdminClient(self.kafka.librdkafka())
        (answer,) = admin.delete_records([TopicPartition(topic, self._partitions[topic], first)]).values()
        answer.result(20)

    def rows(self, table: str) -> list[dict[str, Any]]:
        """The rows as a reader without Spark sees them."""
        rows = DeltaTable(self.tables.path(table)).to_pyarrow_table().to_pylist()
        return sorted(rows, key=lambda row: [str(row[name]) for name in TABLES[table].key])

    def sequences(self) -> list[int]:
        return sorted(row["sequence"] for row in self.rows("inspections"))

    def version(self, table: str) -> int:
        return int(DeltaTable(self.tables.path(table)).version())


@pytest.fixture
def plant(kafka: KafkaSettings, spark: SparkSession, tmp_path: Path) -> Plant:
    session = spark.newSession()
    for key, value in history.SESSION.items():
        session.conf.set(key, value)
    return Plant(kafka, session, tmp_path)


def test_each_topic_arrives_in_its_table_as_it_was_sent(plant: Plant) -> None:
    topics = plant.kafka.topics
    one = inspection(3)
    plant.inspect(one)
    beside = ShadowInspection(
        inspection_id="s1", line="line-1", camera="cam", sequence=3, captured_at=one.captured_at, product="cap",
        threshold=1.0, detector=replace(DETECTOR, version="2"), scored_at=NOON, milliseconds=7.5, error="it failed",
    )  # fmt: skip
    for _ in range(2):
        plant.send(topics.shadow, "cam", codec.encode(beside))
    plant.send(topics.alerts, "a1", codec.encode(alert(1, AlertState.OPENED, count=2)))
    action = OperatorAction(
        action_id="x1", alert_id="a1", kind=ActionKind.CONFIRM, actor="ana", at=NOON, defect_type="scratch"
    )
    plant.send(topics.operator_actions, "a1", codec.encode(action))
    event = CameraEvent(
        event_id="e1", line="line-1", camera="cam", kind=CameraEventKind.HEARTBEAT, at=NOON, next_sequence=4
    )
    plant.send(topics.camera_events, "cam", codec.encode(event))
    frame = Frame(
        line="line-1", camera="cam", sequence=3, captured_at=one.captured_at, product="cap", width=640, height=480,
        jpeg=b"\xff\xd8\x00jpeg", label="scratch",
    )  # fmt: skip
    kept = [("sightline.verdict", b"defect"), ("sightline.inspection_id", one.inspection_id.encode())]
    plant.send(topics.archive, "cam", frame.jpeg, codec.frame_headers(frame) + kept)
    letter = DeadLetter(
        reason=Reason.TRUNCATED,
        message="the JPEG ends early",
        stage="score",
        source=SourceOffset(topic=topics.frames, partition=0, offset=7),
        ingested_at=NOON,
        value=b"\xff\xd8",
        key=b"cam",
        headers=(("ce_camera", b"cam"), ("ce_sequence", b"9"), ("odd", b"\xff\0")),
    )
    plant.send(topics.dead_letters, "cam", letter.value or b"", codec.dead_letter_headers(letter))
    plant.catch_up()

    (row,) = plant.rows("inspections")
    assert row["captured_at"] == one.captured_at
    assert row["day"] == date(2026, 11, 1)
    assert row["heat_map"] == {"rows": 2, "cols": 2, "scale": 2.0, "values": b"\0\x7f\xff\1"}
    assert row["regions"] == [{"x": 1, "y": 2, "width": 3, "height": 4, "peak": 1.5}]
    assert (row["thumbnail"], row["label"], row["verdict"]) == (b"\xff\xd8 picture", "scratch", "defect")
    assert row["timings"]["published_at"] > row["timings"]["scored_at"]
    assert [
        (s["detector"]["version"], s["error"], s["verdict"], s["score"]) for s in plant.rows("shadow_inspections")
    ] == [("2", "it failed", None, None)]
    assert [(a["alert_id"], a["state"], a["count"], a["thumbnail"]) for a in plant.rows("alerts")] == [
        ("a1", "opened", 2, None)
    ]
    assert [(a["actor"], a["at"], a["comment"]) for a in plant.rows("operator_actions")] == [("ana", NOON, None)]
    assert [(e["kind"], e["next_sequence"]) for e in plant.rows("camera_events")] == [("heartbeat", 4)]
    (picture,) = plant.rows("frame_archive")
    assert (picture["jpeg"], picture["verdict"], picture["inspection_id"], picture["label"]) == (
        frame.jpeg, "defect", one.inspection_id, "scratch",
    )  # fmt: skip
    (dead,) = plant.rows("dead_letters")
    assert dead["dead_letter_id"] == letter_id(letter)
    assert (dead["reason"], dead["stage"], dead["camera"], dead["sequence"]) == ("truncated", "score", "cam", 9)
    assert (dead["value"], dead["key"], dead["ingested_at"]) == (b"\xff\xd8", b"cam", NOON)
    assert dead["headers"] == [{"key": name, "value": data} for name, data in letter.headers]


def test_a_record_that_breaks_its_contract_is_kept_aside_and_holds_nothing_up(plant: Plant) -> None:
    junk = [b"", b"no json", b"{}", codec.encode(inspection(5)).replace(b'"score":1.5,', b""), b'{"sequence": 6}']
    junk.append(codec.encode(inspection(6)).replace(b'"captured_at":"2026-', b'"captured_at":"+12026-'))
    for value in junk:
        plant.send(plant.kafka.topics.inspections, "cam", value)
    plant.send(plant.kafka.topics.archive, "cam", b"\xff\xd8")
    plant.send(plant.kafka.topics.dead_letters, "cam", b"a stranger's", [("note", b"\xff")])
    plant.inspect(inspection(7))
    plant.catch_up("inspections", "frame_archive", "dead_letters")
    assert plant.sequences() == [7]
    letters = plant.rows("dead_letters")
    assert {letter["stage"] for letter in letters} == {"history"}
    assert sorted(letter["value"] for letter in letters) == sorted([*junk, b"\xff\xd8", b"a stranger's"])
    assert {letter["sequence"] for letter in letters} == {None, 5, 6}
    assert {letter["camera"] for letter in letters} == {"cam"}


def test_a_table_that_several_create_at_once_is_created_once(spark: SparkSession, tmp_path: Path) -> None:
    for turn in range(3):
        tables = TableSettings(root=str(tmp_path / f"{turn}"))
        with ThreadPoolExecutor(4) as pool:
            creations = [pool.submit(create_table, spark, TABLES["dead_letters"], tables) for _ in range(4)]
            paths = {creation.result() for creation in creations}
        assert [entry["version"] for entry in DeltaTable(paths.pop()).history()] == [0]


def test_days_put_in_order_while_rows_of_them_arrive_lose_and_repeat_none(plant: Plant) -> None:
    done, ordered = threading.Event(), []
    later = NOON + timedelta(days=3)

    def put_in_order() -> None:
        while not done.wait(0.3):
            ordered.extend(optimize(plant.spark, plant.tables, MaintenanceSettings(), ["inspections"], now=later))

    thread = threading.Thread(target=put_in_order)
    for turn in range(4):
        # each turn repeats half of the last one
        plant.inspect(*(inspection(number) for number in range(4 * turn, 4 * turn + 8)))
        plant.catch_up("inspections")
        if turn == 1:
            thread.start()
    done.set()
    thread.join()
    assert plant.sequences() == list(range(20))
    assert ordered and all(day.files_after < day.files_before for day in ordered)


def test_what_retention_took_is_told_also_when_nobody_looked_before_a_kill(plant: Plant) -> None:
    plant.inspect(*(inspection(number) for number in range(5)))
    assert plant.caught_up_and_told_lost() == 0
    plant.inspect(*(inspection(number) for number in range(5, 10)))
    plant.forget(8)
    assert plant.caught_up_and_told_lost() == 3
    plant.inspect(*(inspection(number) for number in range(10, 20)))
    plant.forget(14)
    # as far as a process comes that is killed before its look
    plant.catch_up("inspections")
    plant.inspect(inspection(20))
    assert plant.caught_up_and_told_lost() == 3 + 4
    assert plant.sequences() == [*range(5), 8, 9, *range(14, 21)]


def test_duplicates_in_a_topic_make_one_row_by_the_first_verdict(plant: Plant) -> None:
    plant.inspect(inspection(1), inspection(1), inspection(2), inspection(1, version="2"))
    plant.catch_up("inspections")
    plant.inspect(inspection(2, version="2"), inspection(3), inspection(1, camera="other"))
    plant.catch_up("inspections")
    assert plant.sequences() == [1, 1, 2, 3]
    assert {row["detector"]["version"] for row in plant.rows("inspections")} == {"1"}


def test_a_batch_of_many_bytes_is_written_in_parts_and_each_row_once(
    plant: Plant, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("streaming.history_write._PART_BYTES", 3 * len(codec.encode(inspection(0))))
    plant.inspect(*map(inspection, range(12)), inspection(3), inspection(7, version="2"))
    plant.catch_up("inspections")
    assert plant.sequences() == list(range(12))
    assert {row["detector"]["version"] for row in plant.rows("inspections")} == {"1"}
    assert plant.version("inspections") > 2


def test_an_alert_keeps_its_last_revision_in_whatever_order_they_come(plant: Plant) -> None:
    states = [alert(1, AlertState.OPENED, count=2), alert(3, AlertState.CLOSED, count=9)]
    for one in states:
        plant.send(plant.kafka.topics.alerts, "a1", codec.encode(one))
    plant.catch_up("alerts")
    plant.send(plant.kafka.topics.alerts, "a1", codec.encode(alert(2, AlertState.UPDATED, count=5)))
    plant.catch_up("alerts")
    assert [(row["revision"], row["state"], row["count"]) for row in plant.rows("alerts")] == [(3, "closed", 9)]


def test_a_crash_between_the_tables_commit_and_the_checkpoints_writes_nothing_twice(plant: Plant) -> None:
    plant.inspect(*map(inspection, range(5)))
    plant.catch_up("inspections")
    commits = Path(plant.settings.checkpoints) / "inspections" / "commits"
    last = max((path for path in commits.iterdir() if path.name.isdigit()), key=lambda path: int(path.name))
    last.unlink()
    (commits / f".{last.name}.crc").unlink(missing_ok=True)
    plant.inspect(inspection(5))
    plant.catch_up("inspections")
    assert plant.sequences() == [0, 1, 2, 3, 4, 5]


def test_a_lost_checkpoint_reads_all_again_and_writes_nothing_twice(plant: Plant) -> None:
    plant.inspect(*map(inspection, range(5)))
    plant.catch_up("inspections")
    shutil.rmtree(plant.settings.checkpoints)
    plant.inspect(inspection(5))
    plant.catch_up("inspections")
    assert plant.sequences() == [0, 1, 2, 3, 4, 5]


def test_nothing_new_leaves_no_commit_and_readers_find_empty_tables(plant: Plant) -> None:
    plant.catch_up()
    assert all(plant.rows(table) == [] for table in TABLES)
    plant.inspect(inspection(0))
    plant.catch_up("inspections")
    before = plant.version("inspections")
    plant.catch_up("inspections")
    assert plant.version("inspections") == before


def wait_until(done: Any, seconds: float = 60) -> None:
    deadline = time.monotonic() + seconds
    while not done():
        assert time.monotonic() < deadline
        time.sleep(0.2)


def test_a_table_store_that_is_away_loses_nothing_and_stops_no_other_table(plant: Plant) -> None:
    """The folder of one table is a file for a while: no writer can use it."""
    blocked = Path(plant.tables.path("inspections"))
    blocked.parent.mkdir(parents=True)
    blocked.write_text("in the way")
    plant.inspect(inspection(0))
    plant.send(plant.kafka.topics.alerts, "a1", codec.encode(alert(1, AlertState.OPENED, count=2)))
    stop = threading.Event()
    arguments = (plant.spark, plant.kafka, plant.tables, plant.settings, stop, ("inspections", "alerts"))
    job = threading.Thread(target=history.follow, args=arguments)
    job.start()
    try:
        wait_until(lambda: DeltaTable.is_deltatable(plant.tables.path("alerts")) and plant.rows("alerts"))
        blocked.unlink()
        wait_until(lambda: DeltaTable.is_deltatable(str(blocked)) and plant.sequences() == [0])
    finally:
        stop.set()
        job.join(60)
    assert not job.is_alive()


def test_pictures_past_their_days_are_deleted(plant: Plant) -> None:
    headers: Sequence[tuple[str, bytes]]
    today = datetime.now(UTC)
    for sequence, captured in enumerate((today - timedelta(days=40), today)):
        frame = Frame(
            line="l", camera="cam", sequence=sequence, captured_at=captured, product="cap", width=1, height=1, jpeg=b"j"
        )
        headers = [*codec.frame_headers(frame), ("sightline.verdict", b"ok"), ("sightline.inspection_id", b"i")]
        plant.send(plant.kafka.topics.archive, "cam", frame.jpeg, list(headers))
    plant.catch_up("frame_archive")
    assert len(plant.rows("frame_archive")) == 2
    TableWriter(TABLES["frame_archive"], plant.tables, keep_days=30).upkeep(plant.spark)
    assert [row["sequence"] for row in plant.rows("frame_archive")] == [1]
