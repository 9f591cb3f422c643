"""A score query whose detector waits instead of computing, as a worker does that has sent its frames to a GPU.

With it the stream's own growth shows on a machine whose cores a real detector would fill.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from models.runtime.card import load_card
from models.runtime.scores import Scores
from streaming import score, worker

if TYPE_CHECKING:
    import pyarrow as pa
    from numpy.typing import NDArray

    from models.runtime.card import DetectorCard

MILLISECONDS = "SIGHTLINE_BENCH_WAIT_MS"
"""The environment's name for how long a frame takes."""


class WaitingScorer:
    """Finds every frame good, after a while."""

    def __init__(self, card: DetectorCard, seconds: float) -> None:
        self.card = card
        self._seconds = seconds

    def score(self, images: NDArray[np.uint8]) -> Scores:
        """See `models.runtime.scorer.Scorer.score`."""
        time.sleep(self._seconds * len(images))
        count = len(images)
        return Scores(
            np.zeros((count, self.card.map_rows, self.card.map_cols), np.float32), np.zeros(count, np.float32)
        )


def score_with(*plan: Any) -> Callable[[Iterator[pa.RecordBatch]], Iterator[pa.RecordBatch]]:
    """`streaming.worker.score_with`, with another detector."""
    judged, seconds = worker.score_with(*plan), float(os.environ[MILLISECONDS]) / 1000

    def load(bundle: Path, *_: Any) -> WaitingScorer:
        return WaitingScorer(load_card(bundle), seconds)

    def run(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        import importlib

        vars(importlib.import_module("streaming.worker"))["load_scorer"] = load
        yield from judged(batches)

    return run


def main() -> None:
    """Run until SIGTERM; a stand-in for `streaming.score` in `benchmarks.line`."""
    vars(score)["score_with"] = score_with
    score.main()


if __name__ == "__main__":
    main()
