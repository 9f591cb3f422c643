"""A line that runs only in arithmetic: what the measured costs say of loads and machines that were not measured.

The stream is Spark's micro-batch loop: a batch takes the frames that are there when the last one ends, pays for its
planning, judges them in as many tasks as there are partitions, and ends with its slowest slot. All that is not judging
(JVMs, brokers, cameras on the same machine) takes its share of the cores. `python -m benchmarks.line_model` prints how
far the model is from what `sightline bench` measured, and then plants of 10 to 10,000 cameras.
"""

from __future__ import annotations

import argparse
import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from rich.table import Table

from benchmarks.measured import wide_console


@dataclass(frozen=True, slots=True)
class Costs:
    """Measured on two cores (docs/benchmarks.md); milliseconds of one core's time unless said otherwise."""

    judge_ms: float = 16.2
    """A frame in a Python worker, decoding included."""
    query_ms: float = 1.1
    """A frame in the score query's JVM."""
    broker_ms: float = 0.9
    """A frame on a broker, its verdict included, one copy."""
    copy_ms: float = 1.5
    """A frame on a broker that follows."""
    fold_ms: float = 0.1
    """An inspection in the incident process."""
    camera_ms: float = 2.5
    """A frame in the process that sends it; on its own machine in a plant."""
    batch_ms: float = 45.0
    """Wall time of a micro-batch beside judging: planning, start of tasks, fetch, write; fitted."""
    batch_work_ms: float = 20.0
    """Processor time of a micro-batch beside its frames; fitted."""
    row_ms: float = 1.15
    """An inspection in the history, at most: what a commit of 200 rows costs (`python -m benchmarks.commits`)."""
    frame_kb: float = 205.0


@dataclass(frozen=True, slots=True)
class Machines:
    """`cores` serve everything; `slots` judge, one task each; `cameras_apart` says whether cameras have their own."""

    cores: float
    slots: int
    partitions: int
    cameras_apart: bool = False


@dataclass(frozen=True, slots=True)
class Outcome:
    """Latencies from capture to verdict in milliseconds, and frames/s judged."""

    latencies: NDArray[np.float64]
    carried: float

    def percentile(self, share: float) -> float:
        return float(np.percentile(self.latencies, share))


def simulate(costs: Costs, machines: Machines, rate: float, seconds: float = 240.0, cameras: int = 4) -> Outcome:
    """`rate` frames/s of `cameras`, each as regular as a clock, for `seconds`; the first quarter does not count."""
    due, partition = _arrivals(rate, seconds, cameras, machines.partitions)
    slow = slowdown(costs, machines, rate)
    done = np.empty_like(due)
    now, taken = 0.0, 0
    while taken < len(due):
        now = max(now, due[taken])
        beyond = int(np.searchsorted(due, now, side="right"))
        batch = slice(taken, beyond)
        begins = now + slow * costs.batch_ms / 1000
        done[batch], now = _judge(partition[batch], begins, slow * costs.judge_ms / 1000, machines.slots)
        taken = beyond
    counted = due > seconds / 4
    times = np.sort(done[counted])
    carried = (len(times) - 1) / (times[-1] - times[0])
    return Outcome(1000 * (done - due)[counted], float(carried))


def slowdown(costs: Costs, machines: Machines, rate: float) -> float:
    """By how much everything takes longer because the cores are shared: 1 where nothing else runs on them.

    Work beside judging comes at the rate of frames and of batches, and takes its share from whatever runs. A batch of n
    frames lasts `batch_ms` and what its frames take, which gives the batches a second.
    """
    cameras = 0.0 if machines.cameras_apart else costs.camera_ms
    beside = rate * (costs.query_ms + costs.broker_ms + costs.fold_ms + cameras) / 1000
    idle = max(0.1, 1 - rate * costs.judge_ms / 1000 / machines.slots)
    beside += min(rate, idle * 1000 / costs.batch_ms) * costs.batch_work_ms / 1000
    return 1 / max(0.05, 1 - beside / machines.cores)


def saturation(costs: Costs, machines: Machines) -> float:
    """The highest rate, to 0.5 frames/s, at which verdicts at the end of a minute are within 1.5 s."""
    low, high = 1.0, 2000.0 * machines.slots / costs.judge_ms
    while high - low > 0.5:
        middle = (low + high) / 2
        found = simulate(costs, machines, middle, 60.0)
        low, high = (middle, high) if found.latencies[-20:].mean() < 1500 else (low, middle)
    return low


def drain(costs: Costs, machines: Machines) -> float:
    """Frames/s of a backlog: batches are large, so that planning vanishes, and no camera is at work."""
    beside = (costs.query_ms + costs.broker_ms + costs.fold_ms) / 1000
    return min(machines.slots / (costs.judge_ms / 1000), machines.cores / (costs.judge_ms / 1000 + beside))


def _arrivals(
    rate: float, seconds: float, cameras: int, partitions: int
) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    count = max(cameras, int(rate * seconds))
    number = np.arange(count)
    return number / rate, (number % cameras) % partitions


def _judge(partitions: NDArray[np.int64], begins: float, each: float, slots: int) -> tuple[NDArray[np.float64], float]:
    """When each frame of a batch has its verdict, and when the batch ends; a partition is one task."""
    done = np.empty(len(partitions))
    free = [begins] * slots
    for name in np.unique(partitions):
        rows = np.flatnonzero(partitions == name)
        slot = int(np.argmin(free))
        done[rows] = free[slot] + each * np.arange(1, len(rows) + 1)
        free[slot] = float(done[rows[-1]])
    return done, max(free)


@dataclass(frozen=True, slots=True)
class Prices:
    """Of a rented machine, in dollars; yours differ. An assumption, not a measurement."""

    core_hour: float = 0.045
    disk_gb_month: float = 0.08
    network_gb: float = 0.0


@dataclass(frozen=True, slots=True)
class Plant:
    """What a number of cameras needs."""

    cameras: int
    frames_s: float
    megabytes_s: float
    judging_cores: int
    queries: int
    brokers: int
    broker_disk_tb: float
    history_cores: int
    table_gb_day: float
    archive_gb_day: float
    dollars_month: float


def plant(
    cameras: int, costs: Costs, prices: Prices, *, fps: float = 5.0, share: float = 0.7, defects: float = 0.01
) -> Plant:
    """Cores, brokers, bytes and money of `cameras` at `fps`, loaded to `share`; frames in three copies for an hour.

    Pictures of the share `defects` and of KEPT_OK of the others are archived; a month of rows and pictures is paid for.
    """
    rate = cameras * fps
    megabytes = rate * costs.frame_kb / 1000
    judging = math.ceil(rate * (costs.judge_ms + costs.query_ms + costs.fold_ms) / 1000 / share)
    # planning of a batch grows with its tasks; past this many slots it takes longer than the batch
    queries = max(1, math.ceil(judging / SLOTS_A_QUERY))
    broker_work = rate * (costs.broker_ms + 2 * costs.copy_ms) / 1000 / share
    brokers = max(3, math.ceil(megabytes * 3 / BROKER_MB_S), math.ceil(broker_work / BROKER_CORES))
    disk = megabytes * 3600 * 3 / 1e6
    history = math.ceil(rate * costs.row_ms / 1000 / share)
    table = rate * 86_400 * ROW_BYTES / 1e9
    archive = rate * 86_400 * costs.frame_kb / 1e6 * (defects + (1 - defects) * KEPT_OK)
    hours = 730
    stored = disk * 1000 + 30 * (table + archive)
    cores = judging + history + brokers * BROKER_CORES
    dollars = cores * prices.core_hour * hours + stored * prices.disk_gb_month
    return Plant(
        cameras,
        rate,
        megabytes,
        judging,
        queries,
        brokers,
        disk,
        history,
        table,
        archive,
        dollars,
    )


SLOTS_A_QUERY = 64
"""Task slots of one score query: at 2 to 3 ms of the driver's time a task, more make planning longer than judging."""
BROKER_CORES = 4
BROKER_MB_S = 150.0
"""Bytes in and out that a broker of BROKER_CORES with a plain disk is asked to carry."""
ROW_BYTES = 1600
"""Of an inspection in Delta with its heat map, which every row of a line has: ten million are 16 GB."""
KEPT_OK = 0.02
"""Share of good frames whose picture is kept, for 30 days: the defaults of `[score]` and `[history]`."""


@dataclass(frozen=True, slots=True)
class Limit:
    """What no longer suffices past a number of cameras, and what to do about it."""

    cameras: int
    what: str
    remedy: str


def limits(costs: Costs, *, fps: float = 5.0) -> list[Limit]:
    """In the order in which a plant that grows meets them."""
    cores, megabytes = (plant(1000, costs, Prices(), fps=fps).judging_cores / 1000, fps * costs.frame_kb / 1000)
    two = saturation(costs, Machines(cores=2, slots=2, partitions=2))
    found = [
        Limit(int(0.7 * two / fps), "two cores that do everything, to 70 %", "more cores on the machine"),
        Limit(int(CORES_A_MACHINE / cores), f"{CORES_A_MACHINE} cores of one machine", "a cluster, and its partitions"),
        Limit(int(SLOTS_A_QUERY / cores), f"{SLOTS_A_QUERY} slots of one driver", "a query and a topic prefix a hall"),
        Limit(
            int(BROKERS * BROKER_MB_S / (3 * megabytes)),
            f"network of {BROKERS} brokers",
            "more of them, or judge at the line",
        ),
    ]
    return sorted(found, key=lambda limit: limit.cameras)


CORES_A_MACHINE = 8
BROKERS = 10


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--fps", type=float, default=5.0, help="frames/s of a camera in the plants")
    parser.add_argument("--defects", type=float, default=0.01, help="share of defects, whose pictures are kept")
    parser.add_argument("--core-hour", type=float, default=Prices().core_hour, help="dollars an hour of a core")
    given = parser.parse_args()
    console, costs = wide_console(), Costs()
    small = Machines(cores=2, slots=2, partitions=2)
    at_70 = simulate(costs, small, 61)
    table = Table("what", "measured", "model", title="two cores, four cameras, 720p")
    table.add_row("backlog drained, frames/s", "109", f"{drain(costs, small):.0f}")
    table.add_row("saturation, frames/s", "87", f"{saturation(costs, small):.0f}")
    table.add_row("61 frames/s: p50, ms", "227", f"{at_70.percentile(50):.0f}")
    table.add_row("61 frames/s: p99, ms", "391", f"{at_70.percentile(99):.0f}")
    console.print(table)
    plants = Table(
        "cameras", "MB/s in", "cores that judge", "queries", "brokers", "disk, TB", "cores of history", "rows, GB/day",
        "pictures, GB/day", "$/month", title=f"{given.fps:g} frames/s a camera, {given.defects:.0%} defects",
    )  # fmt: skip
    for cameras in (10, 100, 1_000, 10_000):
        p = plant(cameras, costs, Prices(core_hour=given.core_hour), fps=given.fps, defects=given.defects)
        plants.add_row(
            f"{p.cameras:,}", f"{p.megabytes_s:,.0f}", f"{p.judging_cores:,}", str(p.queries), str(p.brokers),
            f"{p.broker_disk_tb:,.2f}", str(p.history_cores), f"{p.table_gb_day:,.0f}", f"{p.archive_gb_day:,.0f}",
            f"{p.dollars_month:,.0f}",
        )  # fmt: skip
    console.print(plants)
    breaks = Table("past cameras", "what no longer suffices", "remedy", title="what breaks, in its order")
    for limit in limits(costs, fps=given.fps):
        breaks.add_row(f"{limit.cameras:,}", limit.what, limit.remedy)
    console.print(breaks)


if __name__ == "__main__":
    main()
