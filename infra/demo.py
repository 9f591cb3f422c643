"""The whole of Sightline on one machine: a real broker, a real stream, a trained detector, alerts and a history.

Reads top to bottom as `Demo.run`: broker, detector, processes, frames; after Ctrl-C, the last frame or `--minutes`
everything is drained, proved and stopped.
"""

from __future__ import annotations

import fcntl
import json
import os
import secrets
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from threading import Event
from typing import Self

from rich.console import Console
from rich.live import Live
from rich.table import Table

from infra import ports
from infra.deployment import Deployment, wait_for_none
from infra.lines import Line
from infra.live import LiveFeed, latency_ms
from sightline.errors import SightlineError
from sightline.settings import run_folder

SCREEN_SECONDS = 0.5
PLAIN_SECONDS = 5.0
MEMORY_SECONDS = 3.0
PAGES_PORT = 8765
PAGES_USER = "demo"
LANDING_SECONDS = 120.0
"""How long frames may take from their verdict to the tables before they count as missing."""


@dataclass(slots=True)
class Demo:
    """One run of the whole path for `line`, until `minutes` are over, the frames end, or someone stops it."""

    line: Line
    minutes: float | None = None
    retrain: bool = False
    outside_kafka: str | None = None
    pages: bool = True
    console: Console = field(default_factory=lambda: Console(highlight=False))
    _stop: Event = field(default_factory=Event)
    _began: datetime = field(default_factory=lambda: datetime.now(UTC))

    def run(self) -> int:
        """Exit code: 0 when every frame is accounted for."""
        with only_one(run_folder()):
            self._stop_on_signals()
            self._learn()
            with Deployment(self.line.produce, self.outside_kafka) as deployment:
                self._say(f"Kafka serves on {deployment.kafka.bootstrap}; starting score, incidents and history")
                feed = deployment.start(self._stop)
                if self.pages:
                    self._open_pages(deployment)
                self._say(f"cameras on: {self.line.title}")
                deployment.producers.start()
                self._watch(feed, deployment)
                code = self._account(feed, deployment)
        self._farewell()
        return code

    def _learn(self) -> None:
        """Train and register the line's detector, unless the registry has one."""
        if not self.retrain and self._has_champion():
            self._say(f"the registry has a detector for {self.line.product}; --retrain makes a new one")
            return
        for command in self.line.prepare:
            run_room("producers", *command)
        self._say(f"learning what good looks like from {self.line.good_frames}")
        run_room("models", "train", str(self.line.good_frames), "--product", self.line.product, *self.line.train)

    def _open_pages(self, deployment: Deployment) -> None:
        """Serve the console's pages, with an admin of its own where there is no user yet."""
        port = PAGES_PORT if ports.is_free("127.0.0.1", PAGES_PORT) else ports.free_port("127.0.0.1")
        deployment.pages.environment = {"SIGHTLINE_API_PORT": str(port)}
        deployment.open_pages()
        password = secrets.token_urlsafe(12)
        made = subprocess.run(
            [sys.executable, "-m", "console", "users", "create-admin", PAGES_USER, "--password-stdin"],
            input=password + "\n",
            capture_output=True,
            text=True,
            check=False,
        )
        who = f"user {PAGES_USER}, password {password} (told this once)" if made.returncode == 0 else "with your user"
        self._say(f"pages for operators and engineers: http://127.0.0.1:{port} – {who}")

    def _has_champion(self) -> bool:
        asked = subprocess.run(
            [sys.executable, "-m", "models", "detectors", "--json"], capture_output=True, text=True, check=False
        )
        if asked.returncode != 0:
            return False
        rows = json.loads(asked.stdout)
        return any(row["product"] == self.line.product and "champion" in row["aliases"] for row in rows)

    def _watch(self, feed: LiveFeed, deployment: Deployment) -> None:
        """Show the line until it is time to stop; a part that dies meanwhile is an error, not a silence."""
        ends = time.monotonic() + self.minutes * 60 if self.minutes else float("inf")
        measured = 0.0
        with Screen(
            self.console, feed, f"logs in {run_folder() / 'logs'}    Ctrl-C stops everything cleanly"
        ) as screen:
            while time.monotonic() < ends and not self._stop.wait(SCREEN_SECONDS):
                frames_ended = deployment.producers.exit_code == 0
                for process in deployment.processes:
                    if not (frames_ended and process is deployment.producers):
                        process.require_running()
                if time.monotonic() - measured > MEMORY_SECONDS:
                    measured = time.monotonic()
                    for process in deployment.processes:
                        process.sample_memory()
                screen.show()
                if frames_ended and feed.behind() == 0:
                    return

    def _account(self, feed: LiveFeed, deployment: Deployment) -> int:
        """Drain the line, prove from the tables that no frame is missing, judge the verdicts where truth is known."""
        self._say("stopping the cameras and draining the line")
        deployment.drain(feed, self._wait)
        self._say("proving that every frame is accounted for")
        code = run_room("console", "verify", "--wait", f"{LANDING_SECONDS:g}", check=False)
        if self.line.labelled:
            since = self._began.isoformat(timespec="seconds")
            run_room("console", "report", "--product", self.line.product, "--since", since, check=False)
        self._keep_measurements(feed, deployment)
        return code

    def _wait(self, what: str, left: Callable[[], int]) -> None:
        with self.console.status(f"waiting for {what}"):
            wait_for_none(what, left)

    def _keep_measurements(self, feed: LiveFeed, deployment: Deployment) -> None:
        """What this run took, for `docs/benchmarks.md` and for whoever compares machines."""
        cameras = feed.view.cameras.values()
        seconds = time.monotonic() - feed.view.started
        spread = latency_ms([latency for camera in cameras for _, latency in camera.recent])
        facts = {
            "line": self.line.title,
            "frames": sum(camera.inspected for camera in cameras),
            "seconds": round(seconds, 1),
            "latency_ms": {"p50": round(spread[0]), "p99": round(spread[1])} if spread else None,
            "peak_memory_mb": {process.name: round(process.peak_bytes / 1e6) for process in deployment.processes},
        }
        (run_folder() / "demo.json").write_text(json.dumps(facts, indent=2) + "\n")

    def _farewell(self) -> None:
        run = run_folder()
        table = Table(box=None, show_header=False, padding=(0, 2))
        table.add_row("history", str(run / "tables"), 'sightline query "FROM defect_rate_by_hour"')
        table.add_row("alert pictures", str(run / "alerts"), "")
        table.add_row("runs and detectors", str(run / "mlflow"), "sightline detectors")
        table.add_row("what this run took", str(run / "demo.json"), "")
        table.add_row("your own images", "DIR/train/good and DIR/test/*", "make demo -- --images DIR")
        table.add_row("start over", "", f"rm -r {run}")
        self.console.print("\n[bold]Stopped.[/] What is left, and what to try next:")
        self.console.print(table)

    def _say(self, text: str) -> None:
        self.console.print("[bold cyan]sightline[/]", text)

    def _stop_on_signals(self) -> None:
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, lambda *_: self._stop.set())


class Screen:
    """The live view on a terminal; a line of figures now and then where there is none."""

    def __init__(self, console: Console, feed: LiveFeed, footer: str) -> None:
        self._console = console
        self._feed = feed
        self._footer = footer
        self._live = Live(console=console, auto_refresh=False) if console.is_terminal else None
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
            self._console.print(self._feed.summary())


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


def run_room(room: str, *arguments: str, check: bool = True) -> int:
    """Run `python -m ROOM …` in the foreground, its output shown; its own message explains a failure."""
    command: Sequence[str] = [sys.executable, "-m", room, *arguments]
    code = subprocess.run(command, check=False).returncode
    if check and code != 0:
        raise SightlineError(f"`{room} {arguments[0]}` failed with exit code {code}; its message is above")
    return code
