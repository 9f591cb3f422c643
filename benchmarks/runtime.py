"""Frames per second of a detector bundle: `python -m benchmarks.runtime BUNDLE [--json]`.

Each line is one runtime, batch size and number of processes, one thread per process, as the stream's workers run. The
bundle's input is scored from memory; decoding is measured on its own line.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import statistics
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from multiprocessing.queues import SimpleQueue
from multiprocessing.synchronize import Barrier
from pathlib import Path
from typing import get_args

import cv2
import numpy as np
from rich.console import Console
from rich.table import Table

from models.runtime.card import load_card
from models.runtime.decode import decode
from models.runtime.scorer import CPU_BACKENDS, Backend, load_scorer

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


def scoring(folder: Path, backend: Backend, batch: int, processes: int, seconds: float) -> Measured:
    """`processes` processes that score at the same time, each with a scorer of its own."""
    context = multiprocessing.get_context("spawn")
    barrier = context.Barrier(processes)
    queue: SimpleQueue[float] = context.SimpleQueue()
    workers = [
        context.Process(target=_work, args=(folder, backend, batch, seconds, barrier, queue)) for _ in range(processes)
    ]
    for worker in workers:
        worker.start()
    rates = [queue.get() for _ in workers]
    for worker in workers:
        worker.join()
    return Measured(backend, batch, processes, sum(rates))


def _work(
    folder: Path, backend: Backend, batch: int, seconds: float, barrier: Barrier, queue: SimpleQueue[float]
) -> None:
    scorer = load_scorer(folder, backend, threads=1)
    size = (batch, scorer.card.input_height, scorer.card.input_width, 3)
    images = np.random.default_rng(0).integers(0, 256, size, dtype=np.uint8)
    scorer.score(images)
    barrier.wait()
    queue.put(_rate(lambda: scorer.score(images), batch, seconds))


def _rate(call: Callable[[], object], frames: int, seconds: float) -> float:
    rates = []
    for _ in range(ROUNDS):
        done, start = 0, time.perf_counter()
        while (passed := time.perf_counter() - start) < seconds:
            call()
            done += frames
        rates.append(done / passed)
    return statistics.median(rates)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("bundle", type=Path, help="folder of a detector bundle")
    parser.add_argument("--backends", nargs="+", choices=get_args(Backend), default=CPU_BACKENDS)
    parser.add_argument("--batches", nargs="+", type=int, default=BATCHES)
    parser.add_argument("--processes", nargs="+", type=int, default=sorted({1, os.cpu_count() or 1}))
    parser.add_argument("--seconds", type=float, default=2.0, help="length of one round")
    parser.add_argument("--json", action="store_true", help="one JSON object instead of a table")
    asked = parser.parse_args()
    card = load_card(asked.bundle)
    measured = [decoding(card.input_height, card.input_width, asked.seconds)]
    for backend in asked.backends:
        for processes in asked.processes:
            for batch in asked.batches:
                measured.append(scoring(asked.bundle, backend, batch, processes, asked.seconds))
                print(f"{backend}, batch {batch}, {processes} processes: done", file=sys.stderr)
    if asked.json:
        rows = [asdict(row) for row in measured]
        print(json.dumps({"detector": card.name, "cores": os.cpu_count(), "measured": rows}, indent=2))
        return
    table = Table("what", "batch", "processes", "frames/s", title=f"{card.name}, {os.cpu_count()} cores")
    for row in measured:
        table.add_row(row.what, str(row.batch), str(row.processes), f"{row.frames_per_second:.0f}")
    Console().print(table)


if __name__ == "__main__":
    main()
