"""The bare runtime: plain processes that decode and score JPEG bytes from memory, and do nothing else.

What the pipeline is held against: the same cores, the same detector, runtime and precision, no broker, no Spark, no
verdict.
"""

from __future__ import annotations

import multiprocessing
import time
from collections.abc import Sequence
from multiprocessing.connection import Connection
from pathlib import Path
from types import TracebackType
from typing import Self

import cv2
import numpy as np

from benchmarks.pictures import Pictures
from models.runtime.decode import decode
from models.runtime.scorer import Backend, Precision, load_scorer
from streaming.score import ScoreSettings


class BareRuntime:
    """`processes` processes of one thread each, loaded and warm, that work when told to.

    They compute as the settings of `[score]` say that the stream does.
    """

    def __init__(self, bundle: Path, pictures: Pictures, processes: int) -> None:
        settings = ScoreSettings.load()
        context = multiprocessing.get_context("spawn")
        self._ends: list[Connection] = []
        self._workers = []
        for _ in range(processes):
            ours, theirs = context.Pipe()
            arguments = (theirs, bundle, pictures.jpegs, settings.batch_frames, settings.backend, settings.precision)
            worker = context.Process(target=_serve, args=arguments, daemon=True)
            worker.start()
            theirs.close()
            self._ends.append(ours)
            self._workers.append(worker)

    def __enter__(self) -> Self:
        for end in self._ends:
            end.recv()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for end in self._ends:
            end.close()
        for worker in self._workers:
            worker.join()

    def rate(self, seconds: float) -> float:
        """Frames/s of all processes together over one stretch of `seconds`."""
        for end in self._ends:
            end.send(seconds)
        return sum(float(end.recv()) for end in self._ends)


def _serve(
    end: Connection, bundle: Path, jpegs: Sequence[bytes], batch: int, backend: Backend, precision: Precision
) -> None:
    cv2.setNumThreads(1)
    scorer = load_scorer(bundle, backend, threads=1, precision=precision)
    height, width = scorer.card.input_height, scorer.card.input_width
    position = 0

    def work() -> int:
        nonlocal position
        chosen = [jpegs[(position + n) % len(jpegs)] for n in range(batch)]
        position += batch
        scorer.score(np.stack([decode(jpeg, height, width).image for jpeg in chosen]))
        return batch

    work()
    end.send("ready")
    while True:
        try:
            seconds = end.recv()
        except EOFError:
            return
        done, began = 0, time.perf_counter()
        while (passed := time.perf_counter() - began) < seconds:
            done += work()
        end.send(done / passed)
