"""Requests that come together are scored together: whatever waits when a worker is free is its next batch."""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Sequence
from concurrent.futures import Future
from http import HTTPStatus
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from console.api.problems import Problem
from models.runtime.scorer import Scorer
from sightline.errors import DetectorError

WAITING = 128
"""Pictures that may wait for one detector; the next one is told to come back."""

MOST = 2
"""Pictures in a batch: on a CPU more are no faster, and each size of batch takes memory of its own."""


class Scored(NamedTuple):
    """`anomaly_map` float32 [rows, cols] of one picture, its score, and what its batch took."""

    anomaly_map: NDArray[np.float32]
    score: float
    milliseconds: float
    batch: int


class _Waiting(NamedTuple):
    image: NDArray[np.uint8]
    answer: Future[Scored]


class Batcher:
    """Scores pictures of many callers with one scorer.

    Nothing waits for a batch to fill: while some are computed, the next one gathers. A picture's result is that of
    scoring it alone, up to float rounding, and one that fails does not take its batch-mates along.
    """

    def __init__(self, scorer: Scorer, name: str, workers: int = 1) -> None:
        """`workers` threads call `scorer`, which must allow that many callers at once."""
        self._scorer = scorer
        self._queue: queue.Queue[_Waiting | None] = queue.Queue(WAITING)
        self._closed = False
        self._lock = threading.Lock()
        self._workers = workers
        for number in range(workers):
            threading.Thread(target=self._run, name=f"batcher-{name}-{number}", daemon=True).start()

    def submit(self, image: NDArray[np.uint8]) -> Future[Scored]:
        """`image` uint8 [H, W, 3] RGB at the card's size; its result, or DetectorError, comes in the future.

        Raises Problem 503 when too many wait.
        """
        answer: Future[Scored] = Future()
        try:
            with self._lock:
                if self._closed:
                    raise _busy("the detector was just replaced")
                self._queue.put_nowait(_Waiting(image, answer))
        except queue.Full:
            raise _busy(f"{WAITING} pictures wait for this detector") from None
        return answer

    def close(self) -> None:
        """Take no more; what waits is still scored."""
        with self._lock:
            self._closed = True
        for _ in range(self._workers):
            self._queue.put(None)

    def _run(self) -> None:
        while (first := self._queue.get()) is not None:
            batch, last = self._gather(first)
            self._score([waiting for waiting in batch if waiting.answer.set_running_or_notify_cancel()])
            if last:
                return

    def _gather(self, first: _Waiting) -> tuple[list[_Waiting], bool]:
        batch = [first]
        while len(batch) < MOST:
            try:
                waiting = self._queue.get_nowait()
            except queue.Empty:
                break
            if waiting is None:
                return batch, True
            batch.append(waiting)
        return batch, False

    def _score(self, batch: Sequence[_Waiting]) -> None:
        if not batch:
            return
        begun = time.perf_counter()
        try:
            found = self._scorer.score(np.stack([waiting.image for waiting in batch]))
        except DetectorError as error:
            if len(batch) == 1:
                batch[0].answer.set_exception(error)
            else:
                for waiting in batch:
                    self._score([waiting])
            return
        except Exception as error:  # noqa: BLE001 - whoever waits must hear of it, and the thread must go on
            for waiting in batch:
                waiting.answer.set_exception(error)
            return
        took = (time.perf_counter() - begun) * 1000
        for row, waiting in enumerate(batch):
            waiting.answer.set_result(Scored(found.maps[row], float(found.scores[row]), took, len(batch)))


def _busy(why: str) -> Problem:
    return Problem(HTTPStatus.SERVICE_UNAVAILABLE, "busy", f"{why}; try again", headers={"Retry-After": "1"})
