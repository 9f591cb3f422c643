"""How long from capture to verdict and alert, under loads that are held.

The load is open loop: frames come by the clock (`benchmarks.cameras`). Saturation is the highest rate that the line
keeps up with for minutes: short stretches find where to look, then the rate goes down until it was held. 70 % of it is
held as long, and every frame must come out at the other end.
"""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from rich.console import Console

from benchmarks.cameras import Cameras, Load
from benchmarks.line import PRODUCT, LineUnderTest
from benchmarks.measured import Part, percentiles
from benchmarks.pictures import Pictures
from benchmarks.pipeline import CAMERAS, SETTLE_SECONDS, slope
from benchmarks.watch import Seen, Watch
from streaming.score import ScoreSettings

SHARE = 0.7
"""Of saturation, held after it."""
SEARCH_STEPS = 4
SEARCH_SECONDS = 30.0
STEP_DOWN = 0.94
"""What follows a rate that was kept up with for half a minute, but not for as long as it is to be held."""
HOLDS = 5
"""Most rates that are held in search of saturation; what answers in bursts may never be said to keep up."""
KEPT_UP_SECONDS = 1.5
"""Lag of the last verdicts of a stretch behind their capture at which the line still counts as keeping up."""
_TAIL = 20
# incidents that close and open again while the load is held, so that there are alerts to time
_ALERTS = {
    "SIGHTLINE_ALERTS_CLOSE_AFTER": "3",
    "SIGHTLINE_ALERTS_COOL_DOWN_SECONDS": "0.5",
}


@dataclass(frozen=True, slots=True)
class Held:
    """A load that was held: `offered` and `carried` in frames/s, `lag` in seconds at its end."""

    offered: float
    carried: float
    lag: float
    frames: int
    seen: Seen

    @property
    def kept_up(self) -> bool:
        return self.lag < KEPT_UP_SECONDS


class Bench:
    """A line with cameras before it and a reader behind it."""

    def __init__(self, line: LineUnderTest, pictures: Pictures) -> None:
        self.line = line
        self._cameras = Cameras(line.kafka, pictures)
        self._watch = Watch(line.kafka)
        self._sequence = 0
        self.workers_mb = 0
        """Of the largest Python worker, looked at after each load."""
        self.faults: list[str] = []
        """Of every load so far: no frame may be lost in the search for saturation either."""

    def hold(self, rate: float, seconds: float) -> Held:
        """Offer `rate` frames/s for `seconds` and wait for their verdicts; rate 0 offers `seconds` frames at once."""
        frames = math.ceil((rate or 1) * seconds / CAMERAS) * CAMERAS
        self._watch.renew()
        self._cameras.start(Load(frames, rate, CAMERAS, PRODUCT, self._sequence))
        self._sequence += frames // CAMERAS
        sent = self._cameras.wait()
        self._watch.wait_for(frames, SETTLE_SECONDS)
        for process in self.line.processes:
            process.require_running()
        self.workers_mb = max(self.workers_mb, *(round(size / 1e6) for size in self.line.workers_memory()))
        seen = self._watch.renew()
        if wrong := seen.wrong(frames, sent.refused):
            self.faults.append(f"at {rate:.1f} frames/s: {wrong}" if rate else f"a backlog: {wrong}")
        tail = seen.latencies()[-_TAIL:]
        return Held(rate, slope(seen), float(np.median(tail)) / 1000, frames, seen)

    def close(self) -> None:
        self._cameras.close()
        self._watch.close()


def measure(
    folder: Path, pictures: Pictures, console: Console, *, seconds: float = 180.0, module: str = "streaming.score",
    history: bool = False,
) -> Part:  # fmt: skip
    """Find the rate that is kept up with for `seconds`, then hold SHARE of it; `module` is what scores.

    With `history` the tables are filled on the same cores.
    """
    scoring = f"{module} ({ScoreSettings.load().trigger})" if module == "streaming.score" else module
    beside = ", history beside it" if history else ""
    part = Part(f"latency of {scoring}, {CAMERAS} cameras of {pictures.width} × {pictures.height}{beside}")
    with LineUnderTest(folder, _ALERTS, module, history=history) as line:
        bench = Bench(line, pictures)
        steps = find_saturation(bench, console)
        steps += hold_saturation(bench, max(step.offered for step in steps if step.kept_up), seconds, console)
        saturated = steps[-1]
        part.add(f"saturation, held {seconds:.0f} s", saturated.offered, "frames/s")
        part.facts["load"] = [{"offered": s.offered, "carried": s.carried, "lag_s": s.lag} for s in steps]
        if not saturated.kept_up:
            part.facts["saturation"] = f"not held: {saturated.lag:.1f} s late at the end of the last of {HOLDS} rates"
        _report(part, f"{SHARE:.0%} of saturation", bench.hold(SHARE * saturated.offered, seconds), console, bound=True)
        _report(part, "100% of saturation", saturated, console)
        part.faults += bench.faults
        part.facts["memory_mb"] = {p.name: round(p.sample_memory() / 1e6) for p in line.processes}
        part.add("memory of the largest Python worker, after each load", float(bench.workers_mb), "MB", most=600)
        bench.close()
    return part


def find_saturation(bench: Bench, console: Console) -> list[Held]:
    """Stretches of half a minute by bisection below the rate at which a backlog drains; one at least was kept up with.

    What answers in bursts seems to drain faster than it does, so the search goes on until something was kept up with.
    """
    bench.hold(10, 30)  # to warm up
    drained = bench.hold(0, 600).carried
    low, high = 0.0, 1.1 * drained
    steps: list[Held] = []
    while len(steps) < SEARCH_STEPS or not low:
        rate = (low + high) / 2 if low else 0.68 * high
        held = _hold(bench, rate, SEARCH_SECONDS, console)
        steps.append(held)
        low, high = (rate, high) if held.kept_up else (low, rate)
    return steps


def hold_saturation(bench: Bench, rate: float, seconds: float, console: Console) -> list[Held]:
    """Stretches of `seconds` at `rate` and below it; the last was kept up with, or is the last of HOLDS."""
    steps = [_hold(bench, rate, seconds, console)]
    while not steps[-1].kept_up and len(steps) < HOLDS:
        steps.append(_hold(bench, STEP_DOWN * steps[-1].offered, seconds, console))
    return steps


def _hold(bench: Bench, rate: float, seconds: float, console: Console) -> Held:
    held = bench.hold(rate, seconds)
    kept_up = "kept up" if held.kept_up else "fell behind"
    console.log(f"{rate:.1f} frames/s for {seconds:.0f} s: {kept_up}, lag {held.lag:.2f} s at the end")
    return held


def _told(kinds: Counter[str]) -> str:
    return ", ".join(f"{count / kinds.total():.0%} {kind}" for kind, count in kinds.most_common())


def _report(part: Part, name: str, held: Held, console: Console, *, bound: bool = False) -> None:
    """Add what a held load gave, with the targets where `bound`."""
    latencies = held.seen.latencies()
    spread, alerts = percentiles(latencies), percentiles(held.seen.alert_delays())
    to_alert = percentiles(held.seen.alert_latencies())
    about = f"{len(held.seen.opened)} alerts; {_told(held.seen.kinds)}"
    console.log(f"{name}: p50 {spread['p50']:.0f} ms, p99 {spread['p99']:.0f} ms, {about}")
    targets = {"p50": 250.0, "p99": 500.0} if bound else {}
    for key, value in spread.items():
        part.add(f"{name} ({held.offered:.0f}/s): capture → verdict {key}", value, "ms", most=targets.get(key, 0))
    for key in ("p50", "p99"):
        what = f"{name}: verdict → opened alert {key}, {len(held.seen.opened)} alerts"
        part.add(what, alerts[key], "ms", most=50.0 if bound else 0.0)
        part.add(f"{name}: capture → opened alert {key}", to_alert[key], "ms")
    stages = np.array(list(held.seen.stages.values())).T * 1000
    names = ("on the broker", "decoded", "scored", "verdict on its topic")
    part.facts[f"{name}: stages"] = {
        stage: percentiles(list(times)) for stage, times in zip(names, stages, strict=True)
    }
    part.facts[f"{name}: frames"] = held.frames
    part.facts[f"{name}: verdicts"] = dict(held.seen.kinds)
    part.facts[f"{name}: histogram_ms"] = np.histogram(latencies, bins=np.geomspace(10, 20_000, 100))[0].tolist()
