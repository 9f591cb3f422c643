"""Retraining from the console: `sightline retrain` as a process of its own, one at a time, followed through files.

The files outlive a page and this process, so whoever comes later sees how the last one went.
"""

from __future__ import annotations

import logging
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Sequence
from datetime import datetime
from enum import StrEnum
from http import HTTPStatus
from pathlib import Path
from typing import Any

import msgspec

from console.api.audit import AuditTrail
from console.api.problems import Problem
from console.api.store import now
from sightline.errors import PrerequisiteError

log = logging.getLogger(__name__)

PROGRESS = "progress"
"""First word of a line that tells how far a step is; `sightline retrain --progress-lines` writes them."""

_COMMAND = (sys.executable, "-m", "sightline", "retrain")
_STATE, _LOG, _OUTCOME = "retraining.json", "retraining.log", "outcome.json"
_TAIL_BYTES = 64 * 1024
_TAIL_LINES = 200
_GRACE_SECONDS = 20.0
_NICENESS = 10
"""What judges frames goes first."""
_REFUSED = 3


class Phase(StrEnum):
    """Where a retraining is; `refused` trained a challenger that the gate did not let pass."""

    RUNNING = "running"
    DONE = "done"
    REFUSED = "refused"
    FAILED = "failed"
    CANCELLED = "cancelled"
    CUT_OFF = "cut-off"


class Retraining(msgspec.Struct, frozen=True, kw_only=True):
    """One retraining as it stands on disk."""

    product: str
    actor: str
    policy: str
    started_at: datetime
    phase: Phase = Phase.RUNNING
    ended_at: datetime | None = None


class Progress(msgspec.Struct, frozen=True):
    """`done` of `total` of a step."""

    step: str
    done: int
    total: int


class Retrainings:
    """Starts, follows and ends retrainings; any thread may call."""

    def __init__(self, folder: Path, audit: AuditTrail, command: Sequence[str] | None = None) -> None:
        """Files lie below `folder`; `command` takes the place of `sightline retrain` in tests."""
        self._folder = folder / "retraining"
        self._audit = audit
        self._command = tuple(command or _COMMAND)
        self._lock = threading.Lock()
        self._process: subprocess.Popen[bytes] | None = None
        self._ending: Phase | None = None
        self._watcher: threading.Thread | None = None

    def start(self, product: str, actor: str, *, policy: str, force: bool, if_drifted: bool) -> Retraining:
        """Begin; raises Problem 409 while one runs, PrerequisiteError when the folder cannot be written."""
        with self._lock:
            if self._process is not None:
                raise Problem(
                    HTTPStatus.CONFLICT,
                    "retraining-runs",
                    f"{self._known().product} is being retrained; wait until it is done, or cancel it",
                )
            begun = Retraining(product=product, actor=actor, policy=policy, started_at=now())
            options = [f"--policy={policy}", "--json", "--progress-lines"]
            options += ["--force"] if force else []
            options += ["--if-drifted"] if if_drifted else []
            try:
                self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
                with (self._folder / _LOG).open("wb") as errors, (self._folder / _OUTCOME).open("wb") as out:
                    process = subprocess.Popen(
                        [*self._command, *options, "--", product],
                        stdin=subprocess.DEVNULL,
                        stdout=out,
                        stderr=errors,
                        start_new_session=True,
                    )
                self._follow(process, begun)
            except OSError as error:
                raise PrerequisiteError(f"a retraining cannot be started in {self._folder}: {error}") from error
            return begun

    def last(self) -> Retraining | None:
        """The one that runs, or the last that did; None where there never was one."""
        try:
            found = self._known()
        except FileNotFoundError:
            return None
        if found.phase is Phase.RUNNING and self._process is None:
            return msgspec.structs.replace(found, phase=Phase.CUT_OFF)
        return found

    def told(self) -> tuple[Progress | None, list[str]]:
        """How far the current step is, and the last lines of the log."""
        try:
            with (self._folder / _LOG).open("rb") as file:
                size = file.seek(0, os.SEEK_END)
                file.seek(max(0, size - _TAIL_BYTES))
                lines = file.read().decode(errors="replace").splitlines()
        except FileNotFoundError:
            return None, []
        progress, said = None, []
        for line in lines:
            match line.split(" "):
                case [word, step, done, total] if word == PROGRESS and done.isdecimal() and total.isdecimal():
                    progress = Progress(step, int(done), int(total))
                case _:
                    said.append(line)
        return progress, said[-_TAIL_LINES:]

    def outcome(self) -> dict[str, Any] | None:
        """What the last one came to, as `sightline retrain --json` tells it; None before it is done."""
        try:
            found: dict[str, Any] = msgspec.json.decode((self._folder / _OUTCOME).read_bytes())
        except (FileNotFoundError, msgspec.DecodeError):
            return None
        return found

    def cancel(self, actor: str) -> Retraining:
        """End the one that runs; raises Problem 409 when none does."""
        with self._lock:
            process = self._process
            if process is None:
                raise Problem(
                    HTTPStatus.CONFLICT, "no-retraining", "no retraining is running, so none can be cancelled"
                )
            self._ending = Phase.CANCELLED
            log.info("retraining cancelled", extra={"actor": actor})
            _interrupt(process)
            return self._known()

    def wait(self, seconds: float) -> None:
        """Until the one that runs has ended, or time is up."""
        if self._watcher is not None:
            self._watcher.join(seconds)

    def close(self) -> None:
        """End the one that runs: nothing goes on that nobody follows."""
        with self._lock:
            process = self._process
            if process is not None:
                self._ending = Phase.CUT_OFF
                _interrupt(process)
        self.wait(_GRACE_SECONDS)

    def _follow(self, process: subprocess.Popen[bytes], begun: Retraining) -> None:
        self._process, self._ending = process, None
        try:
            os.setpriority(os.PRIO_PROCESS, process.pid, _NICENESS)
            self._write(begun)
            self._watcher = threading.Thread(target=self._watch, args=(process, begun), daemon=True)
            self._watcher.start()
        except BaseException:
            # nothing goes on that nobody follows
            _signal(process, signal.SIGKILL)
            process.wait()
            self._process = None
            raise

    def _watch(self, process: subprocess.Popen[bytes], begun: Retraining) -> None:
        code = process.wait()
        with self._lock:
            phase = self._ending or {0: Phase.DONE, _REFUSED: Phase.REFUSED}.get(code, Phase.FAILED)
            try:
                self._write(msgspec.structs.replace(begun, phase=phase, ended_at=now()))
            except OSError as error:
                # it is told as cut off, and the next one can begin
                fields = {"product": begun.product, "result": phase.value, "error": str(error)}
                log.error("how a retraining ended cannot be written", extra=fields)
            finally:
                self._process = None
        self._audit.note(
            "retraining-ended", begun.actor, ok=phase is Phase.DONE, product=begun.product, result=phase.value
        )

    def _known(self) -> Retraining:
        return msgspec.json.decode((self._folder / _STATE).read_bytes(), type=Retraining)

    def _write(self, state: Retraining) -> None:
        path = self._folder / _STATE
        path.with_suffix(".new").write_bytes(msgspec.json.encode(state))
        path.with_suffix(".new").rename(path)


def _interrupt(process: subprocess.Popen[bytes]) -> None:
    """As Ctrl-C does, so that temporary folders go; and by force if that is not heard."""

    def force() -> None:
        try:
            process.wait(_GRACE_SECONDS / 2)
        except subprocess.TimeoutExpired:
            _signal(process, signal.SIGKILL)

    _signal(process, signal.SIGINT)
    threading.Thread(target=force, daemon=True).start()


def _signal(process: subprocess.Popen[bytes], number: int) -> None:
    # the group: training has asked the history in a process of its own
    if process.poll() is None:
        os.killpg(process.pid, number)
