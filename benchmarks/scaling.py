"""What more workers bring, what more brokers cost, and what happens when one of either leaves.

Spark's standalone master and its workers of one core each, and three brokers, all on this machine. On two cores a
second worker with a real detector takes its core from the broker and the driver; so the same is measured with a
detector that waits instead of computing (`benchmarks.waiting`), which shows the stream alone.
"""

from __future__ import annotations

import shutil
import time
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from rich.console import Console

from benchmarks.cameras import Cameras, Load
from benchmarks.cluster import BrokerCluster, SparkCluster
from benchmarks.line import PRODUCT, LineUnderTest
from benchmarks.measured import Part, Series, percentiles, ratio
from benchmarks.pictures import Pictures
from benchmarks.pipeline import slope
from benchmarks.waiting import MILLISECONDS
from benchmarks.watch import Seen, Watch

CAMERAS = 8
PARTITIONS = 8
SETTLE_SECONDS = 90.0
WAIT_MS = 60
"""What the waiting detector takes for a frame: slow enough that decoding and Spark hide behind it."""
_JOIN_SECONDS = 25.0


@dataclass(slots=True)
class _Bench:
    """A line with cameras before it and a reader behind it, and the count of frames so far."""

    line: LineUnderTest
    cameras: Cameras
    watch: Watch
    part: Part
    sequence: int = 0

    def drain(self, frames: int) -> float:
        """Frames/s at which a backlog of `frames` goes."""
        with self.line.paused():
            self._send(frames, 0)
        return slope(self._read(frames))

    def hold(self, frames: int, rate: float) -> Seen:
        """What came of `frames` at `rate` frames/s."""
        self._send(frames, rate)
        return self._read(frames)

    def begin(self, frames: int, rate: float) -> None:
        """Start to send; `end` waits for the verdicts."""
        self.cameras.start(Load(frames, rate, CAMERAS, PRODUCT, self.sequence))
        self.sequence += frames // CAMERAS

    def end(self, frames: int) -> Seen:
        self.cameras.wait()
        return self._read(frames)

    def _send(self, frames: int, rate: float) -> None:
        self.begin(frames, rate)
        self.cameras.wait()

    def _read(self, frames: int) -> Seen:
        self.watch.wait_for(frames, SETTLE_SECONDS)
        seen = self.watch.renew()
        if len(seen.verdicts) != frames or seen.dead_letters:
            self.part.faults.append(f"{len(seen.verdicts)} verdicts and {seen.dead_letters} dead letters of {frames}")
        return seen


def measure(folder: Path, pictures: Pictures, console: Console, *, rounds: int = 3) -> Part:
    """Workers with a detector that waits, and workers with the real one."""
    part = Part(f"scaling, {CAMERAS} cameras of {pictures.width} × {pictures.height}")
    _workers(part, folder, pictures, console, rounds=rounds, module="benchmarks.waiting")
    _workers(part, folder, pictures, console, rounds=rounds, module="streaming.score")
    return part


def _workers(part: Part, folder: Path, pictures: Pictures, console: Console, *, rounds: int, module: str) -> None:
    """Backlogs drained by one worker and by two, in turns; the second is killed while it works."""
    waits = module == "benchmarks.waiting"
    kind = f"detector that waits {WAIT_MS} ms" if waits else "real detector"
    one, two, recovery = [], [], []
    with SparkCluster(folder / "cluster") as cluster:
        cluster.add()
        environment = {MILLISECONDS: str(WAIT_MS)} if waits else {}
        with LineUnderTest(folder, environment, module, workers=cluster, partitions=PARTITIONS) as line:
            bench = _Bench(line, Cameras(line.kafka, pictures), Watch(line.kafka), part)
            bench.drain(160)
            for number in range(rounds):
                one.append(bench.drain(320))
                cluster.add()
                time.sleep(_JOIN_SECONDS)
                bench.drain(80)  # the new worker loads its detector
                two.append(bench.drain(480))
                console.log(f"round {number}: one worker {one[-1]:.1f}, two {two[-1]:.1f} frames/s")
                rate = 0.7 * one[-1]
                frames = round(rate * 45 / CAMERAS) * CAMERAS
                bench.begin(frames, rate)
                time.sleep(15)
                killed_at = time.time()
                cluster.kill()
                recovery.append(_longest_silence(bench.end(frames), killed_at))
                console.log(f"round {number}: after the kill {recovery[-1]:.1f} s without a verdict")
            bench.cameras.close()
            bench.watch.close()
    part.add(f"{kind}, one worker", Series(tuple(one)), "frames/s")
    part.add(f"{kind}, two workers", Series(tuple(two)), "frames/s")
    part.add(f"{kind}, two workers over one", ratio(Series(tuple(two)), Series(tuple(one))), "×", least=1.8)
    part.add(f"{kind}, a worker is killed: longest silence after it", Series(tuple(recovery)), "s", most=10)


def measure_brokers(folder: Path, pictures: Pictures, console: Console) -> Part:
    """A held load through one broker and through three with three copies each, one of which is killed."""
    part = Part(f"brokers, {CAMERAS} cameras of {pictures.width} × {pictures.height}")
    rate, frames = 16.0, 16 * 60
    for count in (1, 3):
        with ExitStack() as parts:
            several = parts.enter_context(_three(folder)) if count > 1 else None
            line = parts.enter_context(LineUnderTest(folder, brokers=several, partitions=PARTITIONS))
            bench = _Bench(line, Cameras(line.kafka, pictures), Watch(line.kafka), part)
            bench.hold(480, rate)
            before = line.cpu_seconds()
            seen = bench.hold(frames, rate)
            spent = line.cpu_seconds()["broker"] - before["broker"]
            found = percentiles(seen.latencies())
            console.log(f"{count} brokers at {rate:g} frames/s: p50 {found['p50']:.0f}, p99 {found['p99']:.0f} ms")
            part.add(
                f"{count} broker{'s' * (count > 1)} at {rate:g}/s: processor time of all brokers a frame",
                1000 * spent / frames,
                "ms",
            )
            part.add(f"{count} broker{'s' * (count > 1)} at {rate:g}/s: capture → verdict p50", found["p50"], "ms")
            part.add(f"{count} broker{'s' * (count > 1)} at {rate:g}/s: capture → verdict p99", found["p99"], "ms")
            if several:
                bench.begin(frames, rate)
                time.sleep(15)
                killed_at = time.time()
                several.kill(3)
                silence = _longest_silence(bench.end(frames), killed_at)
                part.add("one of three is killed: longest silence after it", silence, "s", most=30)
            bench.cameras.close()
            bench.watch.close()
    return part


def _three(folder: Path) -> BrokerCluster:
    scratch = folder / "brokers"
    shutil.rmtree(scratch, ignore_errors=True)
    return BrokerCluster(scratch)


def _longest_silence(seen: Seen, since: float) -> float:
    """Seconds between two verdicts that follow each other, the longest after `since`."""
    times = np.sort([since, *(at for at in seen.verdicts.values() if at > since)])
    return float(np.max(np.diff(times))) if len(times) > 1 else float("nan")
