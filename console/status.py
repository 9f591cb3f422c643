"""What `sightline status` knows: processes from their metrics, cameras from the topics, tables from their logs.

Nothing is joined or committed, and each of the three is told even where the others are away.
"""

from __future__ import annotations

import time
import urllib.error
import urllib.request
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from prometheus_client.parser import text_string_to_metric_families

from sightline import codec
from sightline.consumer import open_consumer
from sightline.contracts import Inspection
from sightline.errors import BrokerError, SightlineError, TableError
from sightline.metrics import Noted, noted_processes
from sightline.settings import KafkaSettings, TableSettings

RATE_SECONDS = 2.0
"""Time between the two looks that rates are told from."""
TAIL = 200
"""Verdicts of each partition that are looked at for the last one of each camera."""
_ANSWER_SECONDS = 5.0

COUNTED = {
    "producers": "sightline_frames_delivered_total",
    "score": "sightline_frames_read_total",
    "incidents": "sightline_inspections_folded_total",
    "history": "sightline_table_rows_total",
    "api": "sightline_api_requests_total",
}
"""What the rate of a process counts."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Process:
    """One process: `state` is running, silent (it lives and does not answer) or killed."""

    name: str
    state: str
    address: str
    pid: int
    up_seconds: float | None = None
    memory_bytes: float | None = None
    per_second: float | None = None
    lag: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class LastVerdict:
    """The newest verdict of one camera."""

    camera: str
    product: str
    verdict: str
    score: float
    threshold: float
    detector: str
    captured_at: datetime
    latency_seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class TableAge:
    name: str
    rows: int
    written_at: datetime


@dataclass(slots=True, kw_only=True)
class Status:
    """All that could be found out; `faults` names what could not, and why."""

    at: datetime
    processes: list[Process] = field(default_factory=list)
    cameras: list[LastVerdict] = field(default_factory=list)
    tables: list[TableAge] = field(default_factory=list)
    detectors: list[dict[str, str]] = field(default_factory=list)
    waiting_frames: int | None = None
    """Frames on the topic that have neither verdict nor dead letter, by the offsets that the last ones name."""
    dead_letters_last_hour: int | None = None
    spooled_frames: float | None = None
    open_incidents: float | None = None
    faults: dict[str, str] = field(default_factory=dict)

    @property
    def running(self) -> bool:
        return any(process.state == "running" for process in self.processes)


Samples = dict[tuple[str, tuple[tuple[str, str], ...]], float]
"""Value of each series, by name and sorted labels."""


def look(kafka: KafkaSettings, tables: TableSettings, *, seconds: float = RATE_SECONDS) -> Status:
    """The state of the deployment as of now; takes `seconds`, for rates. Raises nothing of its own."""
    status = Status(at=datetime.now(UTC))
    noted = noted_processes()
    first = {one.address: _scrape(one) for one in noted}
    began = time.monotonic()
    _look_at_kafka(status, kafka)
    _look_at_tables(status, tables)
    if any(first.values()):
        time.sleep(max(0.0, seconds - (time.monotonic() - began)))
    for one in noted:
        now = _scrape(one)
        status.processes.append(_process(one, first[one.address], now, time.monotonic() - began))
        _note(status, now or {})
    return status


def _scrape(one: Noted) -> Samples | None:
    """None when the process does not answer."""
    try:
        with urllib.request.urlopen(f"http://{one.address}/metrics", timeout=_ANSWER_SECONDS) as answer:
            text = answer.read().decode()
    except (OSError, urllib.error.URLError, ValueError):
        return None
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def _process(one: Noted, before: Samples | None, now: Samples | None, seconds: float) -> Process:
    if now is None:
        return Process(name=one.process, state="silent" if one.alive else "killed", address=one.address, pid=one.pid)
    counted = COUNTED.get(one.process, "")
    started = total(now, "process_start_time_seconds")
    was, has = total(before or {}, counted), total(now, counted)
    return Process(
        name=one.process,
        state="running",
        address=one.address,
        pid=one.pid,
        up_seconds=None if started is None else time.time() - started,
        memory_bytes=total(now, "process_resident_memory_bytes"),
        per_second=None if was is None or has is None else (has - was) / seconds,
        lag=total(
            now, "sightline_incident_lag_records" if one.process == "incidents" else "sightline_query_lag_records"
        ),
    )


def _note(status: Status, samples: Samples) -> None:
    status.spooled_frames = _plus(status.spooled_frames, total(samples, "sightline_spool_frames"))
    status.open_incidents = _plus(status.open_incidents, total(samples, "sightline_incidents_open"))
    status.detectors += [dict(labels) for name, labels in samples if name == "sightline_detector_info"]


def total(samples: Samples, name: str) -> float | None:
    """The sum over all labels; None where there is no such series."""
    values = [value for (series, _), value in samples.items() if series == name]
    return sum(values) if values else None


def _plus(one: float | None, other: float | None) -> float | None:
    return other if one is None else one if other is None else one + other


def _look_at_tables(status: Status, settings: TableSettings) -> None:
    from console.catalog import describe
    from console.tables import open_tables

    try:
        found = [describe(name, table) for name, table in open_tables(settings).items()]
    except TableError as error:
        status.faults["tables"] = str(error)
        return
    status.tables = [TableAge(name=one.name, rows=one.rows, written_at=one.committed_at) for one in found]


def _look_at_kafka(status: Status, kafka: KafkaSettings) -> None:
    try:
        consumer = open_consumer(
            kafka, connect_seconds=_ANSWER_SECONDS, consumer_timeout_ms=int(_ANSWER_SECONDS * 1000)
        )
    except SightlineError as error:
        status.faults["broker"] = str(error)
        return
    try:
        _read_topics(status, kafka, consumer)
    except (BrokerError, OSError) as error:
        status.faults["broker"] = str(error)
    except Exception as error:
        if not _of_kafka(error):
            raise
        status.faults["broker"] = f"the broker at {kafka.bootstrap} does not tell ({error})"
    finally:
        consumer.close()


def _of_kafka(error: Exception) -> bool:
    from kafka.errors import KafkaError

    return isinstance(error, KafkaError)


def _read_topics(status: Status, kafka: KafkaSettings, consumer: Any) -> None:
    from kafka import TopicPartition

    names = kafka.topics
    places = {
        topic: [TopicPartition(topic, number) for number in sorted(consumer.partitions_for_topic(topic) or ())]
        for topic in (names.frames, names.inspections, names.dead_letters)
    }
    if missing := [topic for topic, found in places.items() if not found]:
        status.faults["topics"] = f"{', '.join(missing)}: not there; `sightline topics` creates them"
        return
    ends = consumer.end_offsets([place for found in places.values() for place in found])
    begins = consumer.beginning_offsets([place for found in places.values() for place in found])
    judged: dict[int, int] = {}
    last: dict[str, LastVerdict] = {}
    for record in _tail(consumer, places[names.inspections], begins, ends):
        try:
            seen = codec.decode(Inspection, record.value)
        except SightlineError:
            continue  # of another version; history keeps it as a dead letter
        judged[seen.source.partition] = max(seen.source.offset, judged.get(seen.source.partition, -1))
        last[seen.camera] = _last(seen, record.timestamp)
    for record in _tail(consumer, places[names.dead_letters], begins, ends):
        try:
            letter = codec.dead_letter_from_record(record.key, record.value, record.headers)
        except SightlineError:
            continue
        judged[letter.source.partition] = max(letter.source.offset, judged.get(letter.source.partition, -1))
    status.cameras = [last[camera] for camera in sorted(last)]
    status.waiting_frames = sum(
        max(0, ends[place] - max(begins[place], judged.get(place.partition, -1) + 1)) for place in places[names.frames]
    )
    hour_ago = int((status.at - timedelta(hours=1)).timestamp() * 1000)
    since = consumer.offsets_for_times(dict.fromkeys(places[names.dead_letters], hour_ago))
    status.dead_letters_last_hour = sum(ends[place] - found.offset for place, found in since.items() if found)


def _tail(consumer: Any, places: Iterable[Any], begins: dict[Any, int], ends: dict[Any, int]) -> list[Any]:
    """The last records of each partition, up to the ends that were told."""
    wanted = {place: max(begins[place], ends[place] - TAIL) for place in places if ends[place] > begins[place]}
    if not wanted:
        return []
    consumer.assign(list(wanted))
    for place, offset in wanted.items():
        consumer.seek(place, offset)
    found: list[Any] = []
    deadline = time.monotonic() + _ANSWER_SECONDS
    while time.monotonic() < deadline and any(consumer.position(place) < ends[place] for place in wanted):
        found += [one for batch in consumer.poll(timeout_ms=200).values() for one in batch]
    return sorted(found, key=lambda record: int(record.timestamp))


def _last(seen: Inspection, published: int) -> LastVerdict:
    return LastVerdict(
        camera=seen.camera,
        product=seen.product,
        verdict=seen.verdict.value,
        score=seen.score,
        threshold=seen.threshold,
        detector=seen.detector.version,
        captured_at=seen.captured_at,
        latency_seconds=published / 1000 - seen.captured_at.timestamp(),
    )
