"""The whole of Sightline on one machine: a real broker, a real stream, a trained detector, alerts and a history.

Reads top to bottom as `Demo.run`: broker, detector, processes, frames, and after Ctrl-C (or the last frame, or
`--minutes`) everything is drained, proved and stopped in the order in which frames flow.
"""

from __future__ import annotations

import fcntl
import json
import logging
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from threading import Event
from typing import Self

from rich.console import Console
from rich.live import Live
from rich.table import Table

from infra.broker import BrokerSettings, EmbeddedBroker
from infra.lag import behind
from infra.lines import Line
from infra.live import LiveFeed
from infra.processes import ManagedProcess
from infra.topics import create_topics
from sightline.errors import SightlineError
from sightline.settings import KafkaSettings, run_folder

log = logging.getLogger(__name__)

INCIDENTS_GROUP = "sightline-incidents"
READY_SECONDS = 180.0
DRAIN_SECONDS = 90.0
SCREEN_SECONDS = 0.5
PLAIN_SECONDS = 5.0

# What each JVM may take on a machine that runs all of them (docs/benchmarks.md has what they use).
SCORE_MEMORY = "700m"
HISTORY_MEMORY = "900m"


@dataclass(slots=True)
class Demo:
    """One run of the whole path for `line`, until `minutes` are over, the frames end, or someone stops it."""

    line: Line
    minutes: float | None = None
    retrain: bool = False
    console: Console = field(default_factory=Console)
    _stop: Event = field(default_factory=Event)
    _began: datetime = field(default_factory=lambda: datetime.now(UTC))

    def run(self) -> int:
        """Exit code: 0 when every frame is accounted for."""
        with only_one(run_folder()), ExitStack() as parts:
            self._stop_on_signals()
            kafka = self._broker(parts)
            self._detector()
            processes = self._processes()
            for process in processes.values():
                parts.callback(process.stop)
            feed = self._start(processes, kafka)
            parts.callback(feed.stop)
            self._watch(feed, processes)
            code = self._finish(feed, processes, kafka)
        self._farewell()
        return code

    def _broker(self, parts: ExitStack) -> KafkaSettings:
        self._say("starting the broker")
        broker = parts.enter_context(EmbeddedBroker(BrokerSettings.load()))
        kafka = KafkaSettings.load(bootstrap=broker.bootstrap)
        create_topics(kafka)
        self._say(f"Kafka serves on {broker.bootstrap}")
        return kafka

    def _detector(self) -> None:
        if not self.retrain and self._has_champion():
            self._say(f"a detector for {self.line.product} is in the registry; --retrain makes a new one")
            return
        for command in self.line.prepare:
            _run(["producers", *command])
        self._say(f"learning from {self.line.good_frames}")
        _run(["models", "train", str(self.line.good_frames), "--product", self.line.product])

    def _has_champion(self) -> bool:
        asked = subprocess.run(
            [sys.executable, "-m", "models", "detectors", "--json"], capture_output=True, text=True, check=False
        )
        if asked.returncode != 0:
            return False
        return any(row["product"] == self.line.product and row["champion"] for row in json.loads(asked.stdout))

    def _processes(self) -> dict[str, ManagedProcess]:
        logs = run_folder() / "logs"
        return {
            "score": ManagedProcess(
                "score", "streaming.score", environment={"SIGHTLINE_SPARK_DRIVER_MEMORY": SCORE_MEMORY}, log_folder=logs
            ),
            "incidents": ManagedProcess("incidents", "streaming.incidents", log_folder=logs),
            "history": ManagedProcess(
                "history",
                "streaming.history",
                environment={"SIGHTLINE_SPARK_DRIVER_MEMORY": HISTORY_MEMORY, "SIGHTLINE_SPARK_MASTER": "local[1]"},
                log_folder=logs,
            ),
            "producers": ManagedProcess("producers", "producers", ["produce", *self.line.produce], log_folder=logs),
        }

    def _start(self, processes: dict[str, ManagedProcess], kafka: KafkaSettings) -> LiveFeed:
        self._say("starting the score query, the incident fold and the history")
        feed = LiveFeed(kafka, run_folder() / "alerts")
        feed.start()
        for name in ("score", "incidents", "history"):
            processes[name].start()
        processes["score"].wait_until_log_says('"query started"', READY_SECONDS, self._stop)
        self._say(f"cameras on: {self.line.title}")
        processes["producers"].start()
        return feed

    def _watch(self, feed: LiveFeed, processes: dict[str, ManagedProcess]) -> None:
        """Show the line until it is time to stop; a part that dies meanwhile is an error, not a silence."""
        ends = time.monotonic() + self.minutes * 60 if self.minutes else float("inf")
        footer = f"logs in {run_folder() / 'logs'}    Ctrl-C stops everything cleanly"
        with Screen(self.console, feed, footer) as screen:
            while time.monotonic() < ends and not self._stop.wait(SCREEN_SECONDS):
                for name, process in processes.items():
                    process.sample_memory()
                    if name != "producers" or process.exit_code:
                        process.require_running()
                screen.show()
                if not processes["producers"].running:
                    return

    def _finish(self, feed: LiveFeed, processes: dict[str, ManagedProcess], kafka: KafkaSettings) -> int:
        """Stop in the order in which frames flow, each part only after it has nothing left to do."""
        self._say("stopping the cameras")
        processes["producers"].stop()
        self._wait_for("every frame to be judged", feed.behind)
        processes["score"].stop()
        self._wait_for("the last incidents", lambda: behind(kafka, INCIDENTS_GROUP, kafka.topics.inspections))
        processes["incidents"].stop()
        self._say("waiting for the history to hold every frame")
        code = _run(["console", "verify", "--wait", f"{DRAIN_SECONDS:g}"], check=False)
        if self.line.labelled:
            since = self._began.isoformat(timespec="seconds")
            _run(["console", "report", "--product", self.line.product, "--since", since], check=False)
        self._measure(feed, processes)
        processes["history"].stop()
        return code

    def _wait_for(self, what: str, remaining: Callable[[], int]) -> None:
        ends = time.monotonic() + DRAIN_SECONDS
        with self.console.status(f"waiting for {what}"):
            while left := remaining():
                if time.monotonic() > ends:
                    self._say(f"gave up waiting for {what}: {left} left after {DRAIN_SECONDS:g} s")
                    return
                time.sleep(0.3)

    def _measure(self, feed: LiveFeed, processes: dict[str, ManagedProcess]) -> None:
        """Keep what this run used, for whoever compares machines."""
        seconds = (datetime.now(UTC) - self._began).total_seconds()
        frames = sum(camera.inspected for camera in feed.view.cameras.values())
        facts = {
            "line": self.line.title,
            "seconds": round(seconds, 1),
            "frames": frames,
            "peak_mb": {name: round(process.peak_bytes / 1e6) for name, process in processes.items()},
        }
        (run_folder() / "demo.json").write_text(json.dumps(facts, indent=2) + "\n")

    def _farewell(self) -> None:
        run = run_folder()
        table = Table(box=None, show_header=False, padding=(0, 2))
        table.add_row("history", f"{run / 'tables'}", 'sightline query "SELECT * FROM defect_rate_by_hour"')
        table.add_row("account", "every frame, from the tables", "sightline verify")
        table.add_row("alert pictures", f"{run / 'alerts'}", "")
        table.add_row("runs, detectors", f"{run / 'mlflow'}", "sightline detectors")
        table.add_row("your own images", "train/good and test/*", "make demo -- --images DIR")
        table.add_row("start over", "", f"rm -r {run}")
        self.console.print("\n[bold]Stopped cleanly.[/] What is left, and what to try next:", highlight=False)
        self.console.print(table, highlight=False)

    def _say(self, text: str) -> None:
        self.console.print(f"[bold cyan]sightline[/] {text}", highlight=False)

    def _stop_on_signals(self) -> None:
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, lambda *_: self._stop.set())


class Screen:
    """The live view on a terminal; a line of figures now and then where there is none."""

    def __init__(self, console: Console, feed: LiveFeed, footer: str) -> None:
        self._console = console
        self._feed = feed
        self._footer = footer
        self._live = Live(console=console, auto_refresh=False, screen=False) if console.is_terminal else None
        self._next_line = 0.0

    def __enter__(self) -> Self:
        if self._live:
            self._live.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._live:
            self._live.stop()

    def show(self) -> None:
        """Draw what the feed has now."""
        if self._live:
            self._live.update(self._feed.render(self._footer), refresh=True)
        elif time.monotonic() >= self._next_line:
            self._next_line = time.monotonic() + PLAIN_SECONDS
            self._console.print(self._feed.summary(), highlight=False)


@contextmanager
def only_one(run: Path) -> Iterator[None]:
    """Hold the run folder; raises SightlineError when another demo holds it."""
    run.mkdir(parents=True, exist_ok=True)
    with (run / "demo.lock").open("a+") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            lock.seek(0)
            raise SightlineError(
                f"another demo (process {lock.read().strip() or 'unknown'}) runs in {run.absolute()}; stop it first, "
                "or set SIGHTLINE_RUN to another folder"
            ) from None
        lock.truncate(0)
        lock.write(str(os.getpid()))
        lock.flush()
        yield


def _run(arguments: Sequence[str], *, check: bool = True) -> int:
    """Run `python -m ROOM …` in the foreground, its output shown; its own message explains a failure."""
    code = subprocess.run([sys.executable, "-m", *arguments], check=False).returncode
    if check and code != 0:
        raise SightlineError(f"`{' '.join(arguments[:2])}` failed with exit code {code}; its message is above")
    return code
