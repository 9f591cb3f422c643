"""The columns of one day of each table that a plant's cameras fill."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from benchmarks.history_columns import hex_ids, pick, pieces, struct_of, times
from benchmarks.history_line import REVIEW, SHIFT_START, THRESHOLD, CameraDay, Plan, detector
from sightline.contracts import CameraEventKind, Reason, Verdict

Columns = dict[str, Any]
"""Arrow or numpy arrays of one length, by column, without `day`."""

_FRAMES_PER_HEARTBEAT = 3
_MAP = 32


def inspections(plan: Plan, seen: list[CameraDay], rng: np.random.Generator, pictures: NDArray[np.uint8]) -> Columns:
    """The verdicts; a share of the good ones with full heat maps."""
    counts = [len(one.sequence) for one in seen]
    captured = np.concatenate([one.captured for one in seen])
    sequence = np.concatenate([one.sequence for one in seen])
    score = np.concatenate([one.score for one in seen])
    owner = np.repeat(np.arange(len(seen)), counts)
    if not plan.clustered:
        order = np.argsort(captured, kind="stable")
        captured, sequence, score, owner = captured[order], sequence[order], score[order], owner[order]
    rows = len(captured)
    verdict = np.where(score >= THRESHOLD, 2, np.where(score >= REVIEW, 1, 0))
    full = (verdict > 0) | (rng.random(rows) < plan.pictures)
    maps = pieces(pictures, rng, rows, np.where(full, _MAP * _MAP, 16))
    ingested = captured + (rng.gamma(4, 4_000, rows)).astype(np.int64)
    decoded = ingested + rng.gamma(3, 12_000 + 2_000 * (owner % 4)).astype(np.int64)
    scored = decoded + rng.gamma(6, 5_000, rows).astype(np.int64)
    # a stall now and then, of the kind that a percentile must show
    scored += np.where(rng.random(rows) < 0.004, rng.exponential(300_000, rows), 0).astype(np.int64)
    side = np.where(full, _MAP, 4)
    judge = detector(plan, seen[0].day)
    return {
        "inspection_id": hex_ids(rng, rows),
        "line": pick([one.line for one in seen], owner),
        "camera": pick([one.camera for one in seen], owner),
        "sequence": sequence,
        "captured_at": times(captured),
        "product": pick(["bottle_cap", "pcb"], owner % 2),
        "width": np.full(rows, 640), "height": np.full(rows, 480),
        "score": score, "threshold": np.full(rows, THRESHOLD),
        "verdict": pick([Verdict.OK.value, Verdict.REVIEW.value, Verdict.DEFECT.value], verdict),
        "detector": struct_of(
            name=pick(["sightline.bottle_cap", "sightline.pcb"], owner % 2),
            version=pick([judge["version"]], np.zeros(rows, np.int64)),
            digest=pick([judge["digest"]], np.zeros(rows, np.int64)),
        ),
        "quality": struct_of(blur=rng.normal(900, 120, rows), exposure=rng.normal(110 - owner % 5, 6, rows)),
        "timings": struct_of(
            ingested_at=times(ingested // 1000 * 1000), decoded_at=times(decoded), scored_at=times(scored),
            published_at=times((scored + rng.gamma(3, 4_000, rows).astype(np.int64)) // 1000 * 1000),
        ),
        "source": struct_of(
            topic=pick(["frames"], np.zeros(rows, np.int64)), partition=owner % 2, offset=sequence * len(seen) + owner
        ),
        "heat_map": struct_of(rows=side, cols=side, scale=score * 2, values=maps),
        "regions": _regions(rng, verdict, score),
        "label": pa.nulls(rows, pa.string()),
        "thumbnail": pieces(pictures, rng, rows, np.where(verdict == 2, 7_000, 0), verdict == 2),
        "schema_version": np.ones(rows, np.int64),
    }  # fmt: skip


def _regions(rng: np.random.Generator, verdict: NDArray[np.int64], score: NDArray[np.float64]) -> pa.Array:
    boxes = np.where(verdict > 0, rng.integers(1, 4, len(verdict)), 0)
    total = int(boxes.sum())
    box = struct_of(
        x=rng.integers(0, 560, total), y=rng.integers(0, 400, total), width=rng.integers(10, 80, total),
        height=rng.integers(10, 80, total), peak=np.repeat(score, boxes) * rng.uniform(0.9, 1, total),
    )  # fmt: skip
    offsets = np.concatenate([[0], np.cumsum(boxes)]).astype(np.int32)
    return pa.ListArray.from_arrays(pa.array(offsets), box)


def camera_events(seen: list[CameraDay], rng: np.random.Generator, midnight: int) -> Columns:
    """Heartbeats, drops, a start and a stop a day, in the order of their time."""
    beats = [one.captured[::_FRAMES_PER_HEARTBEAT] for one in seen]
    nexts = [one.sequence[::_FRAMES_PER_HEARTBEAT] + 1 for one in seen]
    drops = [(one, *drop) for one in seen for drop in one.dropped]
    begin = midnight + SHIFT_START * 1_000_000
    owner = np.concatenate([
        np.arange(len(seen)), np.array([one.number for one, *_ in drops], np.int64),
        np.repeat(np.arange(len(seen)), list(map(len, beats))), np.arange(len(seen)),
    ])  # fmt: skip
    drop_at = [int(one.captured[np.searchsorted(one.sequence, first).clip(0, len(one.sequence) - 1)])
               for one, first, _, _ in drops]  # fmt: skip
    at = np.concatenate([
        np.full(len(seen), begin), np.array(drop_at, np.int64), *beats, [one.captured[-1] + 1000 for one in seen],
    ]).astype(np.int64)  # fmt: skip
    next_sequence = np.concatenate([
        [one.sequence[0] for one in seen], np.array([last + 1 for *_, last, _ in drops], np.int64), *nexts,
        [one.sequence[-1] + 1 for one in seen],
    ]).astype(np.int64)  # fmt: skip
    kinds = [CameraEventKind.CONNECTED, CameraEventKind.DROPPED, CameraEventKind.HEARTBEAT, CameraEventKind.STOPPED]
    kind = np.repeat(np.arange(4), [len(seen), len(drops), sum(map(len, beats)), len(seen)])
    rows = len(at)
    before, after = len(seen), rows - len(seen) - len(drops)

    def of_drops(values: list[Any], type_: pa.DataType) -> pa.Array:
        return pa.array([None] * before + values + [None] * after, type_)

    columns = {
        "event_id": hex_ids(rng, rows),
        "line": pick([one.line for one in seen], owner),
        "camera": pick([one.camera for one in seen], owner),
        "kind": pick([one.value for one in kinds], kind),
        "at": times(at),
        "next_sequence": next_sequence,
        "first_sequence": of_drops([first for _, first, _, _ in drops], pa.int64()),
        "last_sequence": of_drops([last for _, _, last, _ in drops], pa.int64()),
        "reason": of_drops([reason for *_, reason in drops], pa.string()),
        "message": pa.nulls(rows, pa.string()),
        "schema_version": np.ones(rows, np.int64),
    }
    order = pa.array(np.argsort(at, kind="stable"))
    return {name: pa.array(column).take(order) for name, column in columns.items()}


def dead_letters(seen: list[CameraDay], rng: np.random.Generator, pictures: NDArray[np.uint8]) -> Columns:
    """Frames that could not be read."""
    rows = sum(len(one.dead) for one in seen)
    owner = np.repeat(np.arange(len(seen)), [len(one.dead) for one in seen])
    sequence = np.concatenate([one.dead for one in seen])
    at = np.concatenate([
        one.captured[np.searchsorted(one.sequence, one.dead).clip(0, len(one.sequence) - 1)] for one in seen
    ])  # fmt: skip
    reasons = [Reason.TRUNCATED, Reason.UNDECODABLE, Reason.TOO_LARGE, Reason.NO_DETECTOR]
    camera = pick([one.camera for one in seen], owner)
    return {
        "dead_letter_id": hex_ids(rng, rows),
        "reason": pick([reason.value for reason in reasons], rng.choice(4, rows, p=[0.5, 0.3, 0.1, 0.1])),
        "message": pick(["the JPEG ends early: 20000 of 81057 bytes"], np.zeros(rows, np.int64)),
        "stage": pick(["score"], np.zeros(rows, np.int64)),
        "source": struct_of(
            topic=pick(["frames"], np.zeros(rows, np.int64)), partition=owner % 2, offset=sequence * len(seen) + owner
        ),
        "ingested_at": times(at),
        "value": pieces(pictures, rng, rows, 20_000),
        "key": camera.cast(pa.binary()),
        "headers": pa.array([[]] * rows, pa.list_(pa.struct({"key": pa.string(), "value": pa.binary()}))),
        "camera": camera,
        "sequence": sequence,
    }


def archive(seen: list[CameraDay], rng: np.random.Generator, pictures: NDArray[np.uint8]) -> Columns:
    """Every defect as it was captured."""
    owner = np.repeat(np.arange(len(seen)), [int(one.defect.sum()) for one in seen])
    rows = len(owner)
    return {
        "inspection_id": hex_ids(rng, rows),
        "line": pick([one.line for one in seen], owner),
        "camera": pick([one.camera for one in seen], owner),
        "sequence": np.concatenate([one.sequence[one.defect] for one in seen]),
        "captured_at": times(np.concatenate([one.captured[one.defect] for one in seen])),
        "product": pick(["bottle_cap", "pcb"], owner % 2),
        "width": np.full(rows, 640), "height": np.full(rows, 480),
        "label": pa.nulls(rows, pa.string()),
        "verdict": pick([Verdict.DEFECT.value], np.zeros(rows, np.int64)),
        "jpeg": pieces(pictures, rng, rows, 30_000),
    }  # fmt: skip
