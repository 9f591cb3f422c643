"""The short form of `make chaos`: cameras, network and a real broker, and the oracle over what came of it."""

from __future__ import annotations

import time
from pathlib import Path

from rich.console import Console

from benchmarks.chaos.catalogue import CATALOGUE
from benchmarks.chaos.experiment import run, schedule
from benchmarks.chaos.line import Line
from benchmarks.chaos.oracle import judge

FAULTS = ("cameras-killed", "connections-reset", "answers-lost")


def test_killed_cameras_and_lost_answers_lose_nothing_and_the_oracle_would_have_told(tmp_path: Path) -> None:
    planned = schedule([CATALOGUE[name] for name in FAULTS], seed=1, injections=len(FAULTS))
    with Line(tmp_path / "run", cameras=2, fps=10, whole=False, disks={}) as line:
        report = run(line, planned, 1, Console(quiet=True), deadline=time.monotonic() + 300)
        world = line.evidence.look()
    assert report.faults == []
    assert {one.fault for one in report.injections if one.recovery is not None} == set(FAULTS)
    assert report.counted["captured"] >= 40
    assert report.counted["acknowledged"] <= report.counted["inspected"] <= report.counted["captured"]

    (gone, *_) = sorted(world.acknowledged - world.doubted)
    del world.inspected[gone]
    world.inspected["cam-0", 10**6] = 1
    told = {finding.kind: finding.keys for finding in judge(world)}
    assert told == {
        "lost": (gone,),
        "acknowledged and not there": (gone,),
        "never captured": (("cam-0", 10**6),),
    }
