"""Throughput through Kafka, Spark and back to Kafka, held against the bare runtime and a plain loop, round by round.

A round: the score process stands still while frames gather on the broker and the two others are timed; then it goes on,
and the slope of its verdicts is taken. So no side has another's load, and all have the machine as it is in that minute.
"""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from rich.console import Console

from benchmarks.bare import BareRuntime
from benchmarks.baselines import plain_loop, write_files
from benchmarks.cameras import Cameras, Load
from benchmarks.line import PRODUCT, LineUnderTest
from benchmarks.measured import Part, Series, ratio
from benchmarks.pictures import Pictures
from benchmarks.watch import Seen, Watch
from streaming.score import ScoreSettings

CAMERAS = 4
SETTLE_SECONDS = 60.0


def measure(
    folder: Path, bundle: Path, plain: Path, pictures: Pictures, console: Console, *, rounds: int = 5,
    seconds: float = 15.0, processes: int = 2,
) -> Part:  # fmt: skip
    """Rounds of `seconds` for each side; `plain` is the detector in float, which the loop computes with PyTorch."""
    what = f"pipeline ({ScoreSettings.load().trigger})"
    part = Part(f"{what}, {pictures.width} × {pictures.height} ({pictures.mean_kb:.0f} kB a frame)")
    bare, looped, piped, shares = [], [], [], []
    with (
        TemporaryDirectory() as scratch,
        BareRuntime(bundle, pictures, processes) as runtime,
        LineUnderTest(folder) as line,
    ):
        loop = plain_loop(plain, write_files(Path(scratch) / "frames", pictures), processes)
        expected = runtime.rate(3)
        cameras, watch = Cameras(line.kafka, pictures), Watch(line.kafka)
        sequence = 0
        for number in range(-1, rounds):  # the first warms both sides up and does not count
            frames = round(expected * seconds / CAMERAS) * CAMERAS
            with line.paused():
                cameras.start(Load(frames, 0, CAMERAS, PRODUCT, sequence))
                sent = cameras.wait()
                rate, plainly = runtime.rate(seconds), loop()
            before = line.cpu_seconds()
            watch.wait_for(frames, SETTLE_SECONDS)
            spent = {name: seconds_ - before[name] for name, seconds_ in line.cpu_seconds().items()}
            seen = watch.renew()
            sequence += frames // CAMERAS
            if wrong := seen.wrong(frames, sent.refused):
                part.faults.append(f"round {number}: {wrong}")
            if number >= 0:
                bare.append(rate)
                looped.append(plainly)
                piped.append(slope(seen))
                shares.append({name: 1000 * value / frames for name, value in spent.items()})
                console.log(
                    f"round {number}: bare {rate:.1f}, plain loop {plainly:.1f}, pipeline {piped[-1]:.1f} frames/s"
                )
        cameras.close()
        watch.close()
    part.facts["verdicts of the last round"] = dict(seen.kinds)
    rates = {"bare runtime": bare, "plain Python loop with PyTorch": looped, "pipeline": piped}
    found = {name: Series(tuple(values)) for name, values in rates.items()}
    for name, values in found.items():
        part.add(name, values, "frames/s")
    for name, least in {"bare runtime": 0.8, "plain Python loop with PyTorch": 5.0}.items():
        part.add(f"pipeline over {name}", ratio(found["pipeline"], found[name]), "×", least=least)
    for name in shares[0]:
        part.add(f"processor time a frame: {name}", Series(tuple(share[name] for share in shares)), "ms")
    return part


def slope(seen: Seen) -> float:
    """Verdicts/s between the first tenth and the last twentieth of them, by their arrival."""
    times = np.sort(np.fromiter(seen.verdicts.values(), float))
    first, last = len(times) // 10, len(times) - 1 - len(times) // 20
    return float((last - first) / (times[last] - times[first]))
