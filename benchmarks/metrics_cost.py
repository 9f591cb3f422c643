"""What counting costs: `python -m benchmarks.metrics_cost`. Processor time of this process, in microseconds."""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import timedelta

from prometheus_client import CollectorRegistry
from pyspark.serializers import CPickleSerializer

from sightline import samples
from sightline.metrics import MetricsSettings
from streaming.metrics import IncidentMetrics
from streaming.tally import Tally, TallySum

ROUNDS = 5000
_SPARK = CPickleSerializer()
"""How Spark sends what workers counted."""


def main() -> None:
    """Print one line for each place where something is counted."""
    task = Tally()
    for _ in range(4):
        _batch(task)
    sent = _SPARK.dumps((1, task))
    print(f"worker, a batch of 4 frames:     {_cost(lambda: _batch(Tally())):6.1f} µs")
    print(f"worker, the end of a task:       {_cost(lambda: _SPARK.dumps((1, task))):6.1f} µs, {len(sent)} bytes")
    print(f"driver, the end of a task:       {_cost(_added(sent)):6.1f} µs")
    seen, metrics = samples.inspection(), IncidentMetrics(CollectorRegistry(), MetricsSettings.load())
    published_at = seen.captured_at + timedelta(milliseconds=240)
    print(f"incident process, one verdict:   {_cost(lambda: metrics.inspection(seen, published_at)):6.1f} µs")


def _batch(tally: Tally) -> None:
    """What `streaming.worker.FrameJudge` counts of four frames."""
    tally.took("open", 0.01)
    tally.took("detect", 0.01)
    for camera in ("cam-1", "cam-2", "cam-3", "cam-4"):
        tally.scored[camera, "ok"] += 1
    tally.took("answer", 0.001)


def _added(sent: bytes) -> Callable[[], object]:
    total, adding = [Tally()], TallySum(256)

    def add() -> None:
        total[0] = adding.addInPlace(total[0], _SPARK.loads(sent)[1])

    return add


def _cost(what: Callable[[], object]) -> float:
    began = time.process_time()
    for _ in range(ROUNDS):
        what()
    return (time.process_time() - began) / ROUNDS * 1e6


if __name__ == "__main__":
    main()
