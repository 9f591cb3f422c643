"""What runs inside each Spark Python worker: Kafka records in, Kafka records out, one Arrow batch at a time.

Delivery: every input record gives exactly one inspection or one dead letter, and an archive record where the policy
keeps the frame; the same input gives the same ids. Order within a Kafka partition is kept.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from models.runtime.card import DetectorCard
from models.runtime.decode import DecodedFrame, decode
from models.runtime.interpret import heat_map, overlay_thumbnail, regions, verdict
from models.runtime.scorer import Backend, Scores, load_scorer
from sightline import codec
from sightline.contracts import DeadLetter, Frame, Inspection, Reason, SourceOffset, Timings, Verdict
from sightline.errors import DetectorError, FrameError
from sightline.settings import Topics
from streaming.detectors import DetectorSet, Loaded

_HEADER = pa.struct([("key", pa.string()), ("value", pa.binary())])
OUTGOING = pa.schema(
    [("topic", pa.string()), ("key", pa.binary()), ("value", pa.binary()), ("headers", pa.list_(_HEADER))]
)
OUTGOING_DDL = "topic string, key binary, value binary, headers array<struct<key: string, value: binary>>"

STAGE = "score"
THUMBNAIL_WIDTH = 192


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerPlan:
    """What a worker needs to know; travels with the query's plan, so it holds plain values only."""

    detectors: str
    topic_prefix: str
    backend: Backend
    threads: int
    batch_frames: int
    archive_ok_fraction: float


class Outgoing(NamedTuple):
    """One Kafka record to be written."""

    topic: str
    key: bytes | None
    value: bytes | None
    headers: list[tuple[str, bytes]]


class Record(NamedTuple):
    """One Kafka record as read."""

    key: bytes | None
    value: bytes | None
    headers: list[tuple[str, bytes | None]]
    source: SourceOffset
    ingested_at: datetime


class Opened(NamedTuple):
    """A frame whose headers and pixels are sound, waiting for its score."""

    record: Record
    frame: Frame
    decoded: DecodedFrame
    decoded_at: datetime
    slot: int


def score_with(plan: WorkerPlan) -> Callable[[Iterator[pa.RecordBatch]], Iterator[pa.RecordBatch]]:
    """The function that `mapInArrow` runs; detectors stay loaded for the life of the worker process."""

    def run(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        judge = _judge(plan)
        judge.refresh()
        for batch in batches:
            for start in range(0, batch.num_rows, plan.batch_frames):
                yield to_arrow(judge.judge(read_records(batch.slice(start, plan.batch_frames))))

    return run


@lru_cache(maxsize=1)
def _judge(plan: WorkerPlan) -> FrameJudge:
    detectors = DetectorSet(Path(plan.detectors), lambda folder: load_scorer(folder, plan.backend, plan.threads))
    return FrameJudge(detectors, Topics(plan.topic_prefix), plan.archive_ok_fraction)


class FrameJudge:
    """Turns Kafka records into inspections, dead letters and archive records; one bad frame never costs its mates."""

    def __init__(self, detectors: DetectorSet, topics: Topics, archive_ok_fraction: float) -> None:
        self._detectors = detectors
        self._topics = topics
        self._archive_ok_fraction = archive_ok_fraction

    def refresh(self) -> None:
        """Pick up changed champions; once per micro-batch is enough."""
        self._detectors.refresh()

    def judge(self, records: Iterable[Record]) -> list[Outgoing]:
        """All that is to be written for `records`, in their order."""
        slots: list[list[Outgoing]] = []
        waiting: dict[str, list[Opened]] = {}
        for slot, record in enumerate(records):
            slots.append([])
            try:
                opened = self._open(record, slot)
            except FrameError as error:
                slots[slot].append(self._dead_letter(record, error))
            else:
                waiting.setdefault(opened.frame.product, []).append(opened)
        for product, group in waiting.items():
            for opened, outgoing in self._score(self._detectors.for_product(product), group):
                slots[opened.slot].extend(outgoing)
        return [record for slot in slots for record in slot]

    def _open(self, record: Record, slot: int) -> Opened:
        frame = codec.frame_from_record(record.value, record.headers)
        card = self._detectors.for_product(frame.product).scorer.card
        decoded = decode(frame.jpeg, card.input_height, card.input_width)
        if (decoded.width, decoded.height) != (frame.width, frame.height):
            raise FrameError(
                Reason.SIZE_MISMATCH,
                f"the headers say {frame.width}x{frame.height}, the JPEG is {decoded.width}x{decoded.height}; "
                "the camera must announce the size that it sends",
            )
        return Opened(record, frame, decoded, datetime.now(UTC), slot)

    def _score(self, detector: Loaded, group: list[Opened]) -> Iterator[tuple[Opened, list[Outgoing]]]:
        try:
            scores = detector.scorer.score(np.stack([opened.decoded.image for opened in group]))
        except DetectorError as error:
            if len(group) > 1:
                for opened in group:
                    yield from self._score(detector, [opened])
                return
            failure = FrameError(Reason.SCORING_FAILED, f"detector {detector.ref.version}: {error}")
            yield group[0], [self._dead_letter(group[0].record, failure)]
            return
        scored_at = datetime.now(UTC)
        for row, opened in enumerate(group):
            yield opened, self._publish(opened, detector, scores, row, scored_at)

    def _publish(
        self, opened: Opened, detector: Loaded, scores: Scores, row: int, scored_at: datetime
    ) -> list[Outgoing]:
        frame, card, anomaly_map = opened.frame, detector.scorer.card, scores.maps[row]
        score = float(scores.scores[row])
        ruling = verdict(score, card)
        inspection = Inspection(
            inspection_id=codec.digest_id(frame.camera, frame.sequence, frame.captured_at, detector.ref.version),
            line=frame.line,
            camera=frame.camera,
            sequence=frame.sequence,
            captured_at=frame.captured_at,
            product=frame.product,
            width=frame.width,
            height=frame.height,
            score=score,
            threshold=card.threshold,
            verdict=ruling,
            detector=detector.ref,
            quality=opened.decoded.quality,
            timings=Timings(ingested_at=opened.record.ingested_at, decoded_at=opened.decoded_at, scored_at=scored_at),
            source=opened.record.source,
            heat_map=heat_map(anomaly_map, card),
            regions=() if ruling is Verdict.OK else regions(anomaly_map, card, frame.width, frame.height),
            label=frame.label,
            thumbnail=_thumbnail(opened, anomaly_map, card) if ruling is Verdict.DEFECT else None,
        )
        key = frame.camera.encode()
        headers = codec.event_headers(inspection, inspection.inspection_id)
        outgoing = [Outgoing(self._topics.inspections, key, codec.encode(inspection), headers)]
        if self._kept(inspection):
            kept = [
                *codec.frame_headers(frame),
                ("sightline.verdict", ruling.value.encode()),
                ("sightline.inspection_id", inspection.inspection_id.encode()),
            ]
            outgoing.append(Outgoing(self._topics.archive, key, frame.jpeg, kept))
        return outgoing

    def _kept(self, inspection: Inspection) -> bool:
        """Every defect and review, and a sample of the rest that a replay chooses alike."""
        drawn = int(inspection.inspection_id[:8], 16) / 2**32
        return inspection.verdict is not Verdict.OK or drawn < self._archive_ok_fraction

    def _dead_letter(self, record: Record, error: FrameError) -> Outgoing:
        letter = DeadLetter(
            reason=Reason(error.reason),
            message=str(error),
            stage=STAGE,
            source=record.source,
            ingested_at=record.ingested_at,
            value=record.value,
            key=record.key,
            headers=tuple((name, value or b"") for name, value in record.headers),
        )
        return Outgoing(self._topics.dead_letters, record.key, record.value, codec.dead_letter_headers(letter))


def _thumbnail(opened: Opened, anomaly_map: NDArray[np.float32], card: DetectorCard) -> bytes:
    """The picture of an alert, in the frame's own aspect."""
    height = max(1, min(2 * THUMBNAIL_WIDTH, round(THUMBNAIL_WIDTH * opened.frame.height / opened.frame.width)))
    return overlay_thumbnail(opened.decoded.image, anomaly_map, card, THUMBNAIL_WIDTH, height)


def read_records(batch: pa.RecordBatch) -> Iterator[Record]:
    """Rows of Spark's Kafka source: key, value, headers, topic, partition, offset, timestamp."""
    columns: dict[str, list[Any]] = {name: batch.column(name).to_pylist() for name in batch.schema.names}
    for key, value, headers, topic, partition, offset, timestamp in zip(
        *(columns[name] for name in ("key", "value", "headers", "topic", "partition", "offset", "timestamp")),
        strict=True,
    ):
        yield Record(
            key=key,
            value=value,
            headers=[(header["key"], header["value"]) for header in headers or ()],
            source=SourceOffset(topic=topic, partition=partition, offset=offset),
            ingested_at=timestamp.astimezone(UTC),
        )


def to_arrow(outgoing: list[Outgoing]) -> pa.RecordBatch:
    """Rows for Spark's Kafka sink, in the schema `OUTGOING`."""
    return pa.RecordBatch.from_arrays(
        [
            pa.array([record.topic for record in outgoing], pa.string()),
            pa.array([record.key for record in outgoing], pa.binary()),
            pa.array([record.value for record in outgoing], pa.binary()),
            pa.array(
                [[{"key": name, "value": data} for name, data in record.headers] for record in outgoing],
                pa.list_(_HEADER),
            ),
        ],
        schema=OUTGOING,
    )
