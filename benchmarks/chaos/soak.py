"""A long run at a steady load with random faults: memory, file handles, disk and latency, sampled all the while."""

from __future__ import annotations

import json
import math
import random
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from statistics import median

import numpy as np
import psutil
from deltalake import DeltaTable
from rich.console import Console
from rich.table import Table

from benchmarks.chaos.experiment import Report, inject
from benchmarks.chaos.fault import Fault, MissedError, wait_for
from benchmarks.chaos.line import Line
from benchmarks.measured import machine
from benchmarks.watch import Watch
from infra.processes import ManagedProcess, python_workers, tree

SAMPLE_SECONDS = 10.0
SHARE = 0.7
MOST_FRAMES_PER_SECOND = 400.0
STEP_SECONDS = 60.0
LAG_SECONDS = 2.0
TABLE_LAG_SECONDS = 15.0
"""What verdicts and rows may be late by when a rate counts as kept up with."""
START_SECONDS = 120.0
QUIET_SECONDS = (20.0, 60.0)
"""Bounds of the pauses between faults."""
GROWTH = 1.25
LONG_ENOUGH_SECONDS = 1500.0


@dataclass(slots=True)
class Sample:
    """One look at everything; bytes, counts, and milliseconds from capture to the verdict in a reader's hands."""

    seconds: float
    memory: dict[str, int] = field(default_factory=dict)
    worker_memory: int = 0
    """Of the largest Python worker of the score query."""
    handles: dict[str, int] = field(default_factory=dict)
    disk: int = 0
    frames: int = 0
    p50: float | None = None
    p99: float | None = None


def saturation(line: Line, console: Console) -> float:
    """The highest rate in frames/s that cameras, verdicts and tables kept up with, to a fifth, by bisection."""
    line.cameras.stop()
    low, high = line.rate, MOST_FRAMES_PER_SECOND
    while high > 1.2 * low:
        rate = math.sqrt(low * high)
        kept_up = _keeps_up(line, rate)
        console.log(f"{rate:.0f} frames/s: {'kept up' if kept_up else 'fell behind'}")
        low, high = (rate, high) if kept_up else (low, rate)
    return low


def _keeps_up(line: Line, rate: float) -> bool:
    sent = line.ends("frames")
    line.change_rate(rate)
    wait_for(lambda: line.ends("frames") > sent, START_SECONDS, "a frame of the cameras", every=0.05)
    sent, began = line.ends("frames"), time.monotonic()
    time.sleep(STEP_SECONDS)
    reached = (line.ends("frames") - sent) / (time.monotonic() - began)
    line.cameras.stop()
    in_time = _done_within(LAG_SECONDS, _judged, line)
    in_tables = _done_within(TABLE_LAG_SECONDS, _kept, line)
    if not (in_time and in_tables):
        _done_within(START_SECONDS, _kept, line)
    return in_time and in_tables and reached > 0.9 * rate


def _judged(line: Line) -> int:
    return line.ends("inspections") + line.ends("frames.dead-letter")


def _kept(line: Line) -> int:
    tables = (DeltaTable(str(line.tables / name)) for name in ("inspections", "dead_letters"))
    return sum(int(table.to_pyarrow_dataset().count_rows()) for table in tables)


def _done_within(seconds: float, count: Callable[[Line], int], line: Line) -> bool:
    """Whether as many were counted as frames were sent, within that time."""
    try:
        wait_for(lambda: count(line) >= line.ends("frames"), seconds, "all frames", every=0.1)
    except MissedError:
        return False
    return True


def run(line: Line, faults: list[Fault], seed: int, minutes: float, console: Console) -> tuple[Report, Sampler]:
    """Inject one of `faults` after another, with pauses, for `minutes`, and sample all the while."""
    report, sampler = Report(seed, line.whole), Sampler(line)
    rng, ends, number = random.Random(seed), time.monotonic() + 60 * minutes, 0
    try:
        while (left := ends - time.monotonic()) > 0:
            time.sleep(min(left, rng.uniform(*QUIET_SECONDS)))
            if time.monotonic() < ends:
                fault = rng.choice(faults)
                done = inject(line, fault, f"{seed}/{fault.name}/{number}")
                report.injections.append(done)
                console.log(f"{fault.name}: {done.recovery or 0:.1f} s {done.broken or done.missed or ''}")
                number += 1
    except KeyboardInterrupt:
        report.stopped = True
        console.log("stopped; what was done is judged all the same")
    finally:
        sampler.close()
    return report, sampler


def write(report: Report, sampler: Sampler, rate: float, folder: Path) -> tuple[Path, Path]:
    """The samples and the report as JSON, and their plot."""
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / "soak.json"
    facts = {"machine": machine(), "frames_per_second": rate, "report": asdict(report)}
    file.write_text(json.dumps({**facts, "samples": [asdict(sample) for sample in sampler.samples]}, indent=1) + "\n")
    picture = folder / "soak.png"
    _plot(report, sampler.samples, sampler.began, picture)
    return file, picture


def show(console: Console, samples: list[Sample]) -> None:
    """The median of each quantity over the second and over the last quarter of the samples."""
    if not samples:
        return
    table = Table("what", *(f"minutes {_span(samples[part])}" for part in _compared(samples)), box=None)
    for what, (early, late), _ in _quantities(samples):
        table.add_row(what, *("" if value is None else f"{value:.0f}" for value in (early, late)))
    console.print(table)


def grown(samples: list[Sample]) -> list[str]:
    """What is not flat: more than a quarter above what it was, in words; empty for less than half an hour.

    The first quarter does not count, in which Java compiles what it runs. The disk grows by what is kept, until the
    topics' bounds.
    """
    if not samples or samples[-1].seconds - samples[0].seconds < LONG_ENOUGH_SECONDS:
        return []
    return [
        f"{what}: {early:.0f} in the second quarter of the time, {late:.0f} in the last"
        for what, (early, late), slack in _quantities(samples)
        if slack is not None and early is not None and late is not None and late > max(GROWTH * early, early + slack)
    ]


def _quantities(samples: list[Sample]) -> Iterator[tuple[str, tuple[float | None, float | None], float | None]]:
    """Each quantity: its name, its two medians, and what it may always grow by; None where it may grow for ever."""
    mebi = 2**20
    rows: list[tuple[str, list[float | None], float | None]] = [
        *((f"memory of {name}, MiB", [one.memory[name] / mebi for one in samples], 64.0) for name in samples[0].memory),
        ("largest Python worker, MiB", [one.worker_memory / mebi for one in samples], 64.0),
        *((f"file handles of {name}", [one.handles[name] for one in samples], 50.0) for name in samples[0].handles),
        ("disk, MiB", [one.disk / mebi for one in samples], None),
        ("capture to verdict, median, ms", [one.p50 for one in samples], 50.0),
        ("capture to verdict, 99th percentile, ms", [one.p99 for one in samples], 200.0),
    ]
    second, last = _compared(samples)
    for what, values, slack in rows:
        yield what, (_median(values[second]), _median(values[last])), slack


def _compared(samples: list[Sample]) -> tuple[slice, slice]:
    quarter = max(1, len(samples) // 4)
    return slice(quarter, 2 * quarter), slice(-quarter, None)


def _span(samples: list[Sample]) -> str:
    return f"{samples[0].seconds / 60:.0f} to {samples[-1].seconds / 60:.0f}" if samples else ""


def _median(values: list[float | None]) -> float | None:
    found = [value for value in values if value is not None]
    return median(found) if found else None


class Sampler:
    """Takes a sample every few seconds until it is closed."""

    def __init__(self, line: Line) -> None:
        self._line = line
        self._watch = Watch(line.kafka)
        self.began = time.time()
        self.samples: list[Sample] = []
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._run, name="sampler", daemon=True)
        self._thread.start()

    def close(self) -> None:
        self._closing.set()
        self._thread.join()
        self._watch.close()

    def _run(self) -> None:
        while not self._closing.wait(SAMPLE_SECONDS):
            self.samples.append(self._sample())

    def _sample(self) -> Sample:
        sample = Sample(time.time() - self.began)
        for process in self._line.processes:
            sample.memory[process.name] = process.sample_memory()
            sample.handles[process.name] = _handles(process.pid)
        sample.memory["broker"] = _resident(self._line.broker.pid)
        sample.handles["broker"] = _handles(self._line.broker.pid)
        sample.worker_memory = _largest_worker(self._line.score)
        sample.disk = _size(self._line.folder)
        seen = self._watch.renew()
        latencies = list(seen.latencies())
        sample.frames = len(latencies)
        if latencies:
            sample.p50, sample.p99 = (float(one) for one in np.percentile(latencies, (50, 99)))
        return sample


def _handles(pid: int | None) -> int:
    count = 0
    for process in tree(pid):
        try:
            count += process.num_fds()
        except psutil.Error:
            continue
    return count


def _resident(pid: int | None) -> int:
    return sum(_rss(process) for process in tree(pid))


def _largest_worker(score: ManagedProcess) -> int:
    return max((_rss(worker) for worker in python_workers(score.pid)), default=0)


def _rss(process: psutil.Process) -> int:
    try:
        return int(process.memory_info().rss)
    except psutil.Error:
        return 0


def _size(folder: Path) -> int:
    """What `du` counts: a walk in Python over an hour's files takes a second of the cores that are measured."""
    # its exit status is of files that were deleted under its feet
    counted = subprocess.run(["du", "--summarize", "--block-size=1", str(folder)], capture_output=True, text=True)
    return int(counted.stdout.split()[0])


def _plot(report: Report, samples: list[Sample], began: float, file: Path) -> None:
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    minutes = [sample.seconds / 60 for sample in samples]
    figure, (memory, handles, disk, latency) = pyplot.subplots(4, 1, figsize=(10, 12), sharex=True)
    for name in samples[0].memory if samples else ():
        memory.plot(minutes, [sample.memory.get(name, 0) / 2**20 for sample in samples], label=name)
        handles.plot(minutes, [sample.handles.get(name, 0) for sample in samples], label=name)
    memory.plot(minutes, [sample.worker_memory / 2**20 for sample in samples], "k:", label="largest worker (RSS)")
    disk.plot(minutes, [sample.disk / 2**20 for sample in samples])
    for name in ("p50", "p99"):
        latency.plot(minutes, [getattr(sample, name) or float("nan") for sample in samples], label=name)
    latency.set_yscale("log")
    for axes, what in ((memory, "memory, MiB"), (handles, "file handles"), (disk, "disk, MiB")):
        axes.set_ylabel(what)
    latency.set_ylabel("capture to verdict, ms")
    latency.set_xlabel("minutes; grey lines are faults")
    for axes in (memory, handles, disk, latency):
        for one in report.injections:
            axes.axvline((one.began - began) / 60, color="lightgrey", zorder=0)
        if axes.get_legend_handles_labels()[0]:
            axes.legend(loc="upper left", fontsize="small")
    figure.tight_layout()
    figure.savefig(file, dpi=100)
    pyplot.close(figure)
