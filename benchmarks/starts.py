"""What kept classes bring (`infra.shared_classes`): starts of the broker and of Spark with and without them, in turns.

python -m benchmarks.starts --rounds 3
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path
from unittest.mock import patch

from rich.console import Console

from benchmarks.measured import Part, Series, ratio, show
from infra.broker import BrokerSettings, EmbeddedBroker
from infra.jars import CONFIGURATIONS
from infra.java import find_java
from infra.shared_classes import lacking
from infra.spark import SparkSettings, build_session


def measure(rounds: int) -> Part:
    """Seconds until the broker serves, and until Spark has run its first job; each start in a process of its own."""
    part = Part("starts")
    for name in CONFIGURATIONS:
        found: dict[bool, list[float]] = {True: [], False: []}
        for number in range(-1, rounds):  # the first fills the system's cache and does not count
            for kept in found:
                seconds = _in_own_process(name, kept)
                if number >= 0:
                    found[kept].append(seconds)
        with_classes, without = Series(tuple(found[True])), Series(tuple(found[False]))
        part.add(f"{name}, classes read from jars", without, "s")
        part.add(f"{name}, classes kept", with_classes, "s")
        part.add(f"{name}, the second over the first", ratio(with_classes, without), "×")
    return part


def _in_own_process(name: str, kept: bool) -> float:
    command = [sys.executable, "-m", "benchmarks.starts", "--once", name, *(() if kept else ("--from-jars",))]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return float(done.stdout.split()[-1])


def _once(name: str, scratch: Path) -> float:
    if name == "broker":
        broker = EmbeddedBroker(BrokerSettings(folder=scratch / "kafka"))
        for _ in range(2):  # the first start prepares the folder
            began = time.perf_counter()
            with broker:
                seconds = time.perf_counter() - began
        return seconds
    began = time.perf_counter()
    spark = build_session("sightline-starts", SparkSettings(folder=scratch / "spark"))
    spark.range(10).where("id < 0").collect()
    seconds = time.perf_counter() - began
    spark.stop()
    return seconds


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--once", choices=CONFIGURATIONS, help="one start, its seconds on stdout")
    parser.add_argument("--from-jars", action="store_true", help="with --once: as if no classes were kept")
    given = parser.parse_args()
    if lacking(CONFIGURATIONS, find_java()):
        parser.error("no classes are kept for this Java; `sightline jars` keeps them")
    if not given.once:
        show(Console(), measure(given.rounds))
        return
    with tempfile.TemporaryDirectory() as scratch, ExitStack() as patches:
        if given.from_jars:
            for room in ("broker", "spark"):
                patches.enter_context(patch(f"infra.{room}.options", return_value=()))
        print(_once(given.once, Path(scratch)))


if __name__ == "__main__":
    main()
