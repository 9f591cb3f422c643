"""What runs inside each Spark Python worker: Kafka records in, Kafka records out, one Arrow batch at a time.

Delivery: every input record gives exactly one inspection or one dead letter, and an archive record where the policy
keeps the frame, or lies in a range of a camera event where `[score] shed` leaves it out; the same input gives the same
ids. Order within a Kafka partition is kept. What challengers say follows in a batch of its own.
"""

from __future__ import annotations

import gc
import os
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import lru_cache
from pathlib import Path
from types import MappingProxyType
from typing import Literal

import numpy as np
import pyarrow as pa

from models.runtime.decode import Decode, DecodedFrame, Wanted, decode_each
from models.runtime.interpret import heat_map, in_frame
from models.runtime.scorer import Backend, Precision, Scorer, load_scorer
from models.runtime.scores import Scores
from models.runtime.view import View, check_maskable
from sightline import codec
from sightline.contracts import DeadLetter, Frame, Inspection, Reason, Timings, Verdict
from sightline.errors import DetectorError, FrameError
from sightline.settings import Topics
from sightline.traces import passed_on
from streaming.detectors import DetectorSet, Loaded
from streaming.finding import find
from streaming.records import Opened, Outgoing, Record, read_records, to_arrow
from streaming.shadow import Challengers, Shadow
from streaming.shedding import Policy, Shedder
from streaming.tally import Tally

Decoder = Literal["cpu", "nvjpeg"]

STAGE = "score"
LONGEST_MESSAGE = 1000
"""Characters of a dead letter's message: what it adds to its record must fit the topic's room for it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerPlan:
    """What a worker needs to know; travels with the query's plan, so it holds plain values only."""

    detectors: str
    topic_prefix: str
    decode: Decoder
    backend: Backend
    precision: Precision
    threads: int
    batch_frames: int
    archive_ok_fraction: float
    shadow_fraction: float
    views: tuple[tuple[str, View], ...]
    shed: Policy
    max_lag_seconds: float


def score_with(
    plan: WorkerPlan, report: Callable[[Tally], object] = lambda _: None
) -> Callable[[Iterator[pa.RecordBatch]], Iterator[pa.RecordBatch]]:
    """The function that `mapInArrow` runs; detectors stay loaded for the life of the worker process.

    `report` is called at the end of each task, with what was done in it.
    """

    def run(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        task = JudgingTask(plan)
        for batch in batches:
            for start in range(0, batch.num_rows, plan.batch_frames):
                for outgoing in task.judge(list(read_records(batch.slice(start, plan.batch_frames)))):
                    yield to_arrow(outgoing)
        if left_out := task.left_out():
            yield to_arrow(left_out)
        report(task.tally)

    return run


class JudgingTask:
    """One Spark task's work in its worker, whose judge it uses; counts in `tally`."""

    def __init__(self, plan: WorkerPlan) -> None:
        """Picks up changed detectors."""
        self._judge = judge_of(plan)
        self._shedder = Shedder(plan.shed, plan.max_lag_seconds, Topics(plan.topic_prefix).camera_events)
        self._judge.tally = self.tally = Tally()
        self._judge.refresh()

    def refresh(self) -> None:
        """Pick up changed detectors once more, in a task that lasts."""
        self._judge.refresh()

    def judge(self, records: list[Record]) -> Iterator[list[Outgoing]]:
        """What is to be written for `records`, in their order; then what challengers say of them, if they are asked."""
        self.tally.frames += len(records)
        yield self._judge.judge(self._shedder.choose(records, datetime.now(UTC)))
        if shadows := self._judge.shadows():
            self.tally.shadowed += len(shadows)
            yield shadows

    def left_out(self) -> list[Outgoing]:
        """Camera events for the frames that were shed since the last call; mostly none."""
        return self._shedder.report(datetime.now(UTC))


@lru_cache(maxsize=1)
def judge_of(plan: WorkerPlan) -> FrameJudge:
    """The judge of this process, made once; its detectors are those of this moment."""
    _see_own_gpu()
    folder, topics, views = Path(plan.detectors), Topics(plan.topic_prefix), dict(plan.views)

    def load(bundle: Path) -> Scorer:
        scorer = load_scorer(bundle, plan.backend, plan.threads, plan.precision)
        check_maskable(scorer.card, views.values())
        return scorer

    shadow = Shadow(Challengers(folder, load), topics.shadow, plan.shadow_fraction) if plan.shadow_fraction else None
    judge = FrameJudge(
        DetectorSet(folder, load), topics, plan.archive_ok_fraction, views, shadow, _decoder(plan.decode)
    )
    judge.refresh()
    # PySpark collects garbage after every task: what stays loaded for good need not be looked through each time
    gc.collect()
    gc.freeze()
    return judge


def _decoder(name: Decoder) -> Decode:
    if name == "cpu":
        return decode_each
    from models.runtime.nvjpeg import BatchDecoder

    return BatchDecoder()


def _see_own_gpu() -> None:
    """Show CUDA the GPU alone that the cluster gave to this executor; before anything loads it."""
    from pyspark import TaskContext

    context = TaskContext.get()
    if context and (gpu := context.resources().get("gpu")):
        os.environ["CUDA_VISIBLE_DEVICES"] = ",".join(gpu.addresses)


class FrameJudge:
    """Turns Kafka records into inspections, dead letters and archive records; one bad frame never costs its mates."""

    def __init__(
        self,
        detectors: DetectorSet,
        topics: Topics,
        archive_ok_fraction: float,
        views: Mapping[str, View] = MappingProxyType({}),
        shadow: Shadow | None = None,
        decode: Decode = decode_each,
    ) -> None:
        """`views` are by camera; without `shadow` no challenger is asked."""
        self._detectors = detectors
        self._topics = topics
        self._archive_ok_fraction = archive_ok_fraction
        self._views = views
        self._shadow = shadow
        self._decode = decode
        self.tally = Tally()

    def refresh(self) -> None:
        """Pick up changed detectors; once per micro-batch is enough."""
        self._detectors.refresh()
        if self._shadow:
            self._shadow.refresh()

    def judge(self, records: Iterable[Record]) -> list[Outgoing]:
        """All that is to be written for `records`, in their order."""
        taken = list(records)
        slots: list[list[Outgoing]] = [[] for _ in taken]
        waiting: dict[str, list[Opened]] = {}
        begun = time.perf_counter()
        for slot, opened in enumerate(self._open(taken)):
            if isinstance(opened, FrameError):
                slots[slot].append(self._dead_letter(taken[slot], opened))
            else:
                waiting.setdefault(opened.frame.product, []).append(opened)
        self.tally.took("open", time.perf_counter() - begun)
        for product, group in waiting.items():
            for opened, outgoing in self._score(self._detectors.for_product(product), group):
                slots[opened.slot].extend(outgoing)
        return [record for slot in slots for record in slot]

    def shadows(self) -> list[Outgoing]:
        """What the challengers say of the frames of the last `judge`; empty without shadow mode."""
        return self._shadow.judge() if self._shadow else []

    def _open(self, records: Sequence[Record]) -> Iterator[Opened | FrameError]:
        """Each frame with what its detector will see of it, or what is wrong with it."""
        announced = [self._announced(record) for record in records]
        decoded = self._decode([one[1] for one in announced if not isinstance(one, FrameError)])
        for slot, (record, one) in enumerate(zip(records, announced, strict=True)):
            yield one if isinstance(one, FrameError) else _opened(record, *one, next(decoded), slot)

    def _announced(self, record: Record) -> tuple[Frame, Wanted] | FrameError:
        """What a record's headers say, and what is to be seen of its picture."""
        try:
            frame = codec.frame_from_record(record.value, record.headers)
            card = self._detectors.for_product(frame.product).scorer.card
        except FrameError as error:
            return error
        return frame, Wanted(frame.jpeg, card.input_height, card.input_width, self._views.get(frame.camera))

    def _score(self, detector: Loaded, group: list[Opened]) -> Iterator[tuple[Opened, list[Outgoing]]]:
        begun = time.perf_counter()
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
        scored_at, detected = datetime.now(UTC), time.perf_counter()
        self.tally.took("detect", detected - begun)
        for row, opened in enumerate(group):
            yield opened, self._publish(opened, detector, scores, row, scored_at)
            if self._shadow:
                self._shadow.take(opened, detector.ref)
        self.tally.took("answer", time.perf_counter() - detected)

    def _publish(
        self, opened: Opened, detector: Loaded, scores: Scores, row: int, scored_at: datetime
    ) -> list[Outgoing]:
        frame, card, decoded = opened.frame, detector.scorer.card, opened.decoded
        finding = find(opened, decoded.image, card, scores, row)
        inspection = Inspection(
            inspection_id=codec.digest_id(frame.camera, frame.sequence, frame.captured_at, detector.ref.version),
            line=frame.line,
            camera=frame.camera,
            sequence=frame.sequence,
            captured_at=frame.captured_at,
            product=frame.product,
            width=frame.width,
            height=frame.height,
            score=finding.score,
            threshold=card.threshold,
            verdict=finding.verdict,
            detector=detector.ref,
            quality=decoded.quality,
            timings=Timings(ingested_at=opened.record.ingested_at, decoded_at=opened.decoded_at, scored_at=scored_at),
            source=opened.record.source,
            heat_map=heat_map(in_frame(finding.anomaly_map, decoded.covered, frame.width, frame.height), card),
            regions=finding.regions,
            label=frame.label,
            thumbnail=finding.thumbnail,
        )
        key = frame.camera.encode()
        headers = codec.event_headers(inspection, inspection.inspection_id) + passed_on(opened.record.headers)
        outgoing = [Outgoing(self._topics.inspections, key, codec.encode(inspection), headers)]
        if self._kept(inspection):
            kept = [
                *codec.frame_headers(frame),
                ("sightline.verdict", finding.verdict.value.encode()),
                ("sightline.inspection_id", inspection.inspection_id.encode()),
            ]
            outgoing.append(Outgoing(self._topics.archive, key, frame.jpeg, kept))
            self.tally.archived += 1
        self.tally.scored[frame.camera, finding.verdict.value] += 1
        return outgoing

    def _kept(self, inspection: Inspection) -> bool:
        """Every defect and review, and a sample of the rest that a replay chooses alike."""
        drawn = int(inspection.inspection_id[:8], 16) / 2**32
        return inspection.verdict is not Verdict.OK or drawn < self._archive_ok_fraction

    def _dead_letter(self, record: Record, error: FrameError) -> Outgoing:
        self.tally.dead[error.reason] += 1
        letter = DeadLetter(
            reason=Reason(error.reason),
            message=str(error)[:LONGEST_MESSAGE],
            stage=STAGE,
            source=record.source,
            ingested_at=record.ingested_at,
            value=record.value,
            key=record.key,
            headers=tuple((name, value or b"") for name, value in record.headers),
        )
        return Outgoing(self._topics.dead_letters, record.key, record.value, codec.dead_letter_headers(letter))


def _opened(
    record: Record, frame: Frame, wanted: Wanted, decoded: DecodedFrame | FrameError, slot: int
) -> Opened | FrameError:
    if isinstance(decoded, FrameError):
        return decoded
    if (decoded.width, decoded.height) != (frame.width, frame.height):
        return FrameError(
            Reason.SIZE_MISMATCH,
            f"the headers say {frame.width}x{frame.height}, the JPEG is {decoded.width}x{decoded.height}; "
            "the camera must announce the size that it sends",
        )
    return Opened(record, frame, decoded, datetime.now(UTC), slot, wanted.view)
