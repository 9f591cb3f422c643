"""Judging hostile frames in one process, and what is found wrong: `python -m streaming.hostile_run --frames 10000`."""

from __future__ import annotations

import math
import resource
import tempfile
import time
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from itertools import islice
from pathlib import Path
from typing import Annotated

import numpy as np
import typer
from numpy.typing import NDArray

from models.runtime.card import DetectorCard
from models.runtime.scorer import Scorer, load_scorer
from models.runtime.scores import Scores
from sightline import codec
from sightline.contracts import Inspection
from sightline.errors import SightlineError
from sightline.settings import Topics
from streaming.detectors import CHAMPIONS, Bundle, DetectorSet, write_pointer
from streaming.hostile import PRODUCT, Hostile, hostile_frames
from streaming.hostile_pictures import INSPECTED
from streaming.records import Outgoing, to_arrow
from streaming.worker import FrameJudge

SIDE = 64
CELLS = 8
BATCH = 16
TOLERANCE = 8.0
"""How far an inspection's score may be from the picture's brightness, 0…255: JPEG and CMYK round."""
BOUND_MB = 600
"""What a worker may have, from docs of the targets; without `--detector` nothing is added to it by one."""

_STATUS = Path("/proc/self/status")


@dataclass(slots=True)
class Outcome:
    """What became of all frames: fates by kind, what was wrong (at most a line a frame), and the memory's peak."""

    frames: int = 0
    fates: Counter[tuple[str, str]] = field(default_factory=Counter)
    faults: list[str] = field(default_factory=list)
    slowest: tuple[float, str] = (0.0, "")
    before_mb: float = 0.0
    peak_mb: float = 0.0
    tolerance: float = TOLERANCE


class Brightness:
    """A scorer that needs no model: the map is the brightness 0…255 of 8 × 8 cells, the score their mean."""

    def __init__(self) -> None:
        self.card = DetectorCard(
            name=f"sightline.{PRODUCT}", product=PRODUCT, method="brightness", input_height=SIDE, input_width=SIDE,
            color_order="RGB", map_rows=CELLS, map_cols=CELLS, threshold=200.0, review_threshold=150.0,
            map_scale=255.0, calibration={}, metrics={}, data_digest="none", run_id=None,
            created_at=datetime(2026, 1, 1, tzinfo=UTC), parameters={},
        )  # fmt: skip

    def score(self, images: NDArray[np.uint8]) -> Scores:
        cell = SIDE // CELLS
        cells = images.reshape(len(images), CELLS, cell, CELLS, cell, 3).mean(axis=(2, 4, 5), dtype=np.float32)
        return Scores(np.ascontiguousarray(cells), cells.mean(axis=(1, 2)))


def judge_all(frames: Iterable[Hostile], folder: Path, scorer: Scorer | None = None) -> Outcome:
    """Judge `frames` as a worker does, in its batches; `folder` is for the detector's pointer file.

    Without `scorer` an inspection's score must be its picture's brightness. Nothing is raised for a frame: a batch that
    raises is a fault of each of its frames.
    """
    write_pointer(folder / CHAMPIONS, {PRODUCT: Bundle(name="n", version="7", digest="d", folder=str(folder))})
    detectors = DetectorSet(folder, lambda _: scorer or Brightness())
    judge = FrameJudge(detectors, Topics(), archive_ok_fraction=0.1)
    judge.refresh()
    to_arrow([])  # imports what it needs the first time
    outcome = Outcome(before_mb=peak_mb(), tolerance=math.inf if scorer else TOLERANCE)
    for batch in _batches(frames):
        began = time.perf_counter()
        try:
            written = judge.judge([frame.record for frame in batch])
            to_arrow(written)
        except Exception as error:  # noqa: BLE001 - whatever it is, it would have ended the worker
            outcome.faults += [f"{frame.kind} {frame.record.source.offset}: {error!r}" for frame in batch]
            written = []
        else:
            _compare(batch, written, outcome)
        took = (time.perf_counter() - began, ", ".join(frame.kind for frame in batch))
        outcome.frames += len(batch)
        outcome.slowest = max(outcome.slowest, took)
        outcome.peak_mb = peak_mb()
    return outcome


def peak_mb() -> float:
    """The most memory that this process has ever had, in MB."""
    if _STATUS.is_file():
        # Linux starts `ru_maxrss` of a new process with what its parent had
        return int(_STATUS.read_text().partition("VmHWM:")[2].split()[0]) / 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024**2


def _batches(frames: Iterable[Hostile]) -> Iterator[list[Hostile]]:
    rest = iter(frames)
    while batch := list(islice(rest, BATCH)):
        yield batch


def _compare(batch: list[Hostile], written: list[Outgoing], outcome: Outcome) -> None:
    """Every record has one fate, that it may have; a dead letter has its bytes, an inspection the right score."""
    topics = Topics()
    fates: dict[int, list[str]] = {frame.record.source.offset: [] for frame in batch}
    by_offset = {frame.record.source.offset: frame for frame in batch}
    for out in written:
        if out.topic == topics.inspections:
            inspection = codec.decode(Inspection, out.value or b"")
            frame = by_offset[inspection.source.offset]
            fates[inspection.source.offset].append(INSPECTED)
            if frame.brightness is not None and abs(inspection.score - frame.brightness) > outcome.tolerance:
                outcome.faults.append(f"{_name(frame)}: score {inspection.score:.1f}, not {frame.brightness}")
        elif out.topic == topics.dead_letters:
            try:
                letter = codec.dead_letter_from_record(out.key, out.value, out.headers)
            except SightlineError as error:
                outcome.faults.append(f"a dead letter that nobody can read: {error}")
                continue
            frame = by_offset[letter.source.offset]
            fates[letter.source.offset].append(letter.reason.value)
            if (out.key, out.value) != (frame.record.key, frame.record.value) or not letter.message:
                outcome.faults.append(f"{_name(frame)}: the dead letter is not what came, or gives no reason")
    for offset, found in fates.items():
        frame = by_offset[offset]
        if len(found) != 1 or found[0] not in frame.fates:
            outcome.faults.append(f"{_name(frame)}: {found}, not one of {sorted(frame.fates)}")
        for fate in found:
            outcome.fates[frame.kind, fate] += 1


def _name(frame: Hostile) -> str:
    return f"{frame.kind} {frame.record.source.offset}"


def main(
    frames: Annotated[int, typer.Option(min=1, help="How many.")] = 10_000,
    seed: Annotated[int, typer.Option(help="Another seed makes others.")] = 0,
    detector: Annotated[
        Path | None, typer.Option(exists=True, file_okay=False, help="A detector's bundle, for its memory.")
    ] = None,
) -> None:
    """Judge hostile frames as a worker does; exit code 1 when one had no fate, a wrong one, or too much memory."""
    began = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        scorer = load_scorer(detector) if detector else None
        outcome = judge_all(islice(hostile_frames(seed), frames), Path(folder), scorer)
    for (kind, fate), count in sorted(outcome.fates.items()):
        typer.echo(f"{kind:<20} {fate:<16} {count:>6}")
    for fault in outcome.faults[:50]:
        typer.echo(f"FAULT {fault}")
    slow, kinds = outcome.slowest
    typer.echo(
        f"{outcome.frames} frames, seed {seed}, {time.monotonic() - began:.0f} s; {len(outcome.faults)} faults; memory "
        f"{outcome.before_mb:.0f} MB before, {outcome.peak_mb:.0f} MB at most; slowest batch {slow:.2f} s ({kinds})"
    )
    if outcome.faults or outcome.peak_mb > BOUND_MB:
        raise typer.Exit(1)


if __name__ == "__main__":
    typer.run(main)
