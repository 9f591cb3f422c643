"""What its checkpoint costs a micro-batch on a local disk, by Hadoop's own file system and by ours, in turns.

python -m benchmarks.checkpoints --rounds 3
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from statistics import median

from pyspark.sql import SparkSession
from pyspark.sql.streaming import StreamingQuery
from rich.console import Console

from benchmarks.measured import Part, Series, processor_seconds, ratio, show
from infra.spark import SMALL_BATCHES, SparkSettings, build_session
from sightline.errors import SightlineError
from streaming.checkpoints import prepare

WARM, BATCHES = 20, 80
"""Micro-batches of one row each, before it counts and after."""
_START_SECONDS = 120.0


def measure(rounds: int, folder: Path) -> Part:
    """Milliseconds and processor milliseconds of a micro-batch that has next to nothing to do."""
    part = Part("checkpoints")
    settings = SparkSettings(folder=folder / "spark", master="local[1]", conf=SMALL_BATCHES)
    spark = build_session("sightline-checkpoints", settings)
    sides = ("Hadoop's", "in Java")
    taken: dict[str, list[dict[str, float]]] = {side: [] for side in sides}
    for number in range(rounds):
        for side in sides:
            session, checkpoint = spark.newSession(), str(folder / f"{number}-{sides.index(side)}")
            if side == "in Java":
                prepare(session, checkpoint)
            taken[side].append(_batches(session, checkpoint))
    spark.stop()
    whole = {
        side: {what: Series(tuple(one[what] for one in found)) for what in found[0]} for side, found in taken.items()
    }
    for what in whole["in Java"]:
        for side in sides:
            part.add(f"{what}, {side}", whole[side][what], "ms")
        part.add(f"{what}, the second over the first", ratio(whole["in Java"][what], whole["Hadoop's"][what]), "×")
    return part


def _batches(session: SparkSession, checkpoint: str) -> dict[str, float]:
    rows = session.readStream.format("rate-micro-batch").option("rowsPerBatch", 1).load()
    query = rows.writeStream.format("noop").option("checkpointLocation", checkpoint).start()
    try:
        _reach(query, WARM)
        before = processor_seconds()
        _reach(query, WARM + BATCHES)
        spent = processor_seconds() - before
        told = list(_durations(query))
    finally:
        query.stop()
    return {
        "plan and end of a batch noted": median(one["walCommit"] + one["commitOffsets"] for one in told),
        "a batch": median(one["triggerExecution"] for one in told),
        "processor time of a batch": spent * 1000 / BATCHES,
    }


def _reach(query: StreamingQuery, batch: int) -> None:
    deadline = time.monotonic() + _START_SECONDS
    while (progress := query.lastProgress) is None or progress["batchId"] < batch:
        if time.monotonic() > deadline:
            raise SightlineError(f"no batch {batch} within {_START_SECONDS:.0f} s: {query.exception()}")
        time.sleep(0.005)


def _durations(query: StreamingQuery) -> Iterator[dict[str, float]]:
    for progress in query.recentProgress:
        if WARM < progress["batchId"] <= WARM + BATCHES:
            yield progress["durationMs"]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        show(Console(), measure(given.rounds, Path(scratch)))


if __name__ == "__main__":
    main()
