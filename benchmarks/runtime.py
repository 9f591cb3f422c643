"""Frames per second of a detector bundle on each runtime.

Each line is one runtime, batch size and number of processes, one thread per process, as the stream's workers run. The
bundle's input is scored from memory; decoding is measured on its own line. OpenVINO is measured in bfloat16 too where
the CPU has it, and PyTorch where the bundle is not an INT8 one.
"""

from __future__ import annotations

import multiprocessing
import os
import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from multiprocessing.queues import SimpleQueue
from multiprocessing.synchronize import Barrier
from pathlib import Path

import cv2
import numpy as np

from benchmarks.measured import Part, rate
from models.runtime.card import load_card
from models.runtime.decode import decode
from models.runtime.scorer import CPU_BACKENDS, PRECISIONS, Backend, Precision, load_scorer
from sightline.errors import DetectorError, PrerequisiteError

BATCHES = (1, 4, 16, 64)
ROUNDS = 5


@dataclass(frozen=True, slots=True)
class Measured:
    """`frames_per_second` of all processes together: the median of ROUNDS rounds of `seconds` each."""

    what: str
    batch: int
    processes: int
    frames_per_second: float


def decoding(height: int, width: int, seconds: float) -> Measured:
    """One core decoding a 720p JPEG to the detector's size."""
    rng = np.random.default_rng(0)
    small = rng.integers(0, 256, (90, 160, 3), dtype=np.uint8)
    picture = cv2.resize(small, (1280, 720), interpolation=cv2.INTER_CUBIC)
    jpeg = cv2.imencode(".jpg", picture, [cv2.IMWRITE_JPEG_QUALITY, 90])[1].tobytes()
    cv2.setNumThreads(1)
    return Measured("decode 1280×720", 1, 1, _rate(lambda: decode(jpeg, height, width), 1, seconds))


def scoring(
    folder: Path, backend: Backend, precision: Precision, batch: int, processes: int, seconds: float
) -> Measured:
    """`processes` processes that score at the same time, each with a scorer of its own."""
    context = multiprocessing.get_context("spawn")
    barrier = context.Barrier(processes)
    queue: SimpleQueue[float] = context.SimpleQueue()
    workers = [
        context.Process(target=_work, args=(folder, backend, precision, batch, seconds, barrier, queue))
        for _ in range(processes)
    ]
    for worker in workers:
        worker.start()
    rates = [queue.get() for _ in workers]
    for worker in workers:
        worker.join()
    return Measured(f"{backend} in {precision}", batch, processes, sum(rates))


def _work(
    folder: Path,
    backend: Backend,
    precision: Precision,
    batch: int,
    seconds: float,
    barrier: Barrier,
    queue: SimpleQueue[float],
) -> None:
    scorer = load_scorer(folder, backend, threads=1, precision=precision)
    size = (batch, scorer.card.input_height, scorer.card.input_width, 3)
    images = np.random.default_rng(0).integers(0, 256, size, dtype=np.uint8)
    scorer.score(images)
    barrier.wait()
    queue.put(_rate(lambda: scorer.score(images), batch, seconds))


def _rate(call: Callable[[], object], frames: int, seconds: float) -> float:
    return statistics.median(rate(call, frames, seconds) for _ in range(ROUNDS))


def usable(folder: Path, backends: Sequence[Backend]) -> tuple[list[tuple[Backend, Precision]], dict[str, str]]:
    """What of `backends` can compute the detector in `folder` here, by precision, and why the others cannot."""
    found: list[tuple[Backend, Precision]] = []
    left_out: dict[str, str] = {}
    for backend in backends:
        for precision in PRECISIONS[backend]:
            try:
                load_scorer(folder, backend, precision=precision)
            except (DetectorError, PrerequisiteError) as error:
                left_out[f"{backend} in {precision}"] = str(error)
            else:
                found.append((backend, precision))
    return found, left_out


def measure(
    folder: Path, backends: Sequence[Backend] = CPU_BACKENDS, batches: Sequence[int] = BATCHES, seconds: float = 2.0
) -> Part:
    """Every runtime of `backends` at every batch size, by one process and by one a core."""
    card = load_card(folder)
    part = Part(f"runtime, {card.name} at {card.input_width} × {card.input_height}")
    measured = [decoding(card.input_height, card.input_width, seconds)]
    chosen, left_out = usable(folder, backends)
    part.facts["left out"] = left_out
    for backend, precision in chosen:
        for processes in sorted({1, os.cpu_count() or 1}):
            measured += [scoring(folder, backend, precision, batch, processes, seconds) for batch in batches]
    for one in measured:
        part.add(f"{one.what}, batch {one.batch}, {one.processes} processes", one.frames_per_second, "frames/s")
    return part
