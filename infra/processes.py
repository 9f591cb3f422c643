"""The processes of an embedded deployment: started with their log in a file, watched, stopped by process id."""

from __future__ import annotations

import contextlib
import logging
import os
import signal
import subprocess
import sys
import time
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from threading import Event

import psutil

from sightline.errors import SightlineError

log = logging.getLogger(__name__)

STOP_SECONDS = 40.0


@dataclass(slots=True)
class ManagedProcess:
    """One room's process, `python -m MODULE …`, in a process group of its own so that Ctrl-C reaches only the parent.

    `nice` is its priority below the others (0 to 19, as of nice(1)). It stays in the parent's session: Linux may
    schedule each session as one (autogroup), which would leave `nice` without effect.
    """

    name: str
    module: str
    arguments: Sequence[str] = ()
    environment: Mapping[str, str] = field(default_factory=dict)
    log_folder: Path = Path("run/logs")
    nice: int = 0
    peak_bytes: int = 0
    _child: subprocess.Popen[bytes] | None = None
    _log_start: int = 0

    @property
    def log_file(self) -> Path:
        return self.log_folder / f"{self.name}.log"

    @property
    def running(self) -> bool:
        return self._child is not None and self._child.poll() is None

    @property
    def pid(self) -> int | None:
        return self._child.pid if self._child else None

    @property
    def exit_code(self) -> int | None:
        return self._child.poll() if self._child else None

    def start(self) -> None:
        """Start it, its output appended to the log file."""
        self.log_folder.mkdir(parents=True, exist_ok=True)
        with self.log_file.open("ab") as output:
            self._log_start = output.tell()
            self._child = subprocess.Popen(
                [sys.executable, "-m", self.module, *self.arguments],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                env={**os.environ, "PYTHONUNBUFFERED": "1", **self.environment},
                process_group=0,
            )
        # before it has threads or children, which inherit it
        if self.nice:
            os.setpriority(os.PRIO_PROCESS, self._child.pid, os.getpriority(os.PRIO_PROCESS, 0) + self.nice)
        log.info("started", extra={"part": self.name, "pid": self._child.pid})

    def stop(self, timeout: float = STOP_SECONDS) -> None:
        """Ask with SIGTERM, wait, and end the whole process group if that was not enough."""
        if self._child is None:
            return
        if self.running:
            self._child.terminate()
            try:
                self._child.wait(timeout)
            except subprocess.TimeoutExpired:
                log.warning("did not stop in time and is killed", extra={"part": self.name, "seconds": timeout})
        # what it started (a JVM, Python workers) goes with it, however it ended
        try:
            os.killpg(self._child.pid, signal.SIGKILL)
        except ProcessLookupError:
            return
        finally:
            self._child.wait()

    def require_running(self) -> None:
        """Raises SightlineError with the end of its log when the process is gone."""
        if not self.running:
            raise SightlineError(
                f"{self.name} ended with exit code {self.exit_code}; the end of {self.log_file}:\n{self.log_tail()}"
            )

    def wait_until_log_says(self, words: str, timeout: float, stop: Event) -> None:
        """Wait for `words` in its log; raises SightlineError when it ends first or takes longer than `timeout` s."""
        ends = time.monotonic() + timeout
        while not stop.wait(0.2):
            with self.log_file.open(errors="replace") as text:
                text.seek(self._log_start)
                if words in text.read():
                    return
            self.require_running()
            if time.monotonic() > ends:
                raise SightlineError(f"{self.name} was not ready after {timeout:g} s; see {self.log_file}")

    def log_tail(self, lines: int = 15) -> str:
        """The last lines of the log file."""
        if not self.log_file.is_file():
            return "(no log)"
        with self.log_file.open(errors="replace") as text:
            return "".join(deque(text, maxlen=lines)).rstrip()

    def sample_memory(self) -> int:
        """Proportional set size of the process and all its children in bytes; the highest is kept in `peak_bytes`."""
        total = sum(map(memory, tree(self.pid))) if self.running else 0
        self.peak_bytes = max(self.peak_bytes, total)
        return total


def tree(pid: int | None) -> list[psutil.Process]:
    """The process and all its children; empty when it is gone."""
    if pid is None:
        return []
    try:
        root = psutil.Process(pid)
        return [root, *root.children(recursive=True)]
    except psutil.NoSuchProcess:
        return []


def python_workers(pid: int | None) -> list[psutil.Process]:
    """Spark's Python workers below a process: what its daemon has forked."""
    found = []
    for child in tree(pid)[1:]:
        with contextlib.suppress(psutil.NoSuchProcess):
            parent = child.parent()
            if parent and "streaming.daemon" in parent.cmdline():
                found.append(child)
    return found


def memory(process: psutil.Process) -> int:
    """Bytes: PSS where the system tells it, else RSS: forked workers share pages that must not count twice."""
    try:
        info = process.memory_full_info()
    except (psutil.NoSuchProcess, psutil.AccessDenied):
        return 0
    return int(getattr(info, "pss", info.rss))
