"""A run of faults: each is injected many times into one running line, then the line is drained and the oracle asked."""

from __future__ import annotations

import json
import random
import time
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from statistics import median

from rich.console import Console
from rich.table import Table

from benchmarks.chaos.fault import BrokenError, Fault, MissedError
from benchmarks.chaos.kills import newest
from benchmarks.chaos.line import RULE, Line
from benchmarks.chaos.oracle import Finding, Key, judge
from benchmarks.chaos.records import alarmed
from benchmarks.measured import machine

PATIENCE_SECONDS = 120.0
QUEUE_SECONDS = 30.0
BACKLOG_SECONDS = 300.0
STALLED_SECONDS = 600.0
"""A line that has not its rate again by then stands still for good; how soon it should have it, each fault says."""


@dataclass(frozen=True, slots=True)
class Injection:
    """One fault that was done. `seed` repeats its random choices; `began` and `ended` are seconds since the epoch.

    `recovery` is in seconds, None where the rate did not come back in time; `broken` says what did not hold, `missed`
    why it did not happen at all.
    """

    fault: str
    seed: str
    began: float
    ended: float
    recovery: float | None = None
    broken: str | None = None
    missed: str | None = None
    within: float = 0.0

    @property
    def slow(self) -> bool:
        """Whether it recovered, and too late."""
        return self.recovery is not None and self.recovery > self.within


@dataclass(slots=True)
class Report:
    """What a run gave: its injections, and what the oracle found."""

    seed: int
    whole: bool
    injections: list[Injection] = field(default_factory=list)
    captured: dict[str, int] = field(default_factory=dict)
    """Frames that were captured between an injection of the fault and the next one."""
    findings: list[Finding] = field(default_factory=list)
    blamed: dict[str, dict[str, int]] = field(default_factory=dict)
    """For each fault and kind of finding, the frames that were captured after it and before the next."""
    counted: dict[str, int] = field(default_factory=dict)
    """All frames, by fate."""
    dropped: dict[str, int] = field(default_factory=dict)
    """Frames counted as dropped that were captured after the fault and before the next."""
    grown: list[str] = field(default_factory=list)
    """What was not flat over a soak."""
    stopped: bool = False
    """Whether somebody ended it before its time."""

    @property
    def faults(self) -> list[str]:
        """What was broken, in words."""
        found = [str(finding) for finding in self.findings]
        found += [f"{one.fault} ({one.seed}): {one.broken}" for one in self.injections if one.broken]
        done = {one.fault for one in self.injections if not one.missed}
        never = sorted({one.fault for one in self.injections} - done)
        found += [f"not flat: {what}" for what in self.grown]
        return found + [f"{name}: never done, its moment was missed each time" for name in never]

    @property
    def slow(self) -> list[Injection]:
        """Those after which the line was itself again, and too late."""
        return [one for one in self.injections if one.slow and not one.missed]


def schedule(faults: Iterable[Fault], seed: int, injections: int | None) -> list[tuple[Fault, str]]:
    """The faults in a random order, each with the seed of its own choices; `injections` bounds their number."""
    planned = [(fault, f"{seed}/{fault.name}/{number}") for fault in faults for number in range(fault.times)]
    random.Random(seed).shuffle(planned)
    if injections is None or injections >= len(planned):
        return planned
    # each kind first once, then whatever comes
    first: dict[str, tuple[Fault, str]] = {}
    for fault, own in planned:
        first.setdefault(fault.name, (fault, own))
    rest = [one for one in planned if one not in first.values()]
    return [*first.values(), *rest][:injections]


def run(line: Line, planned: Sequence[tuple[Fault, str]], seed: int, console: Console, deadline: float) -> Report:
    """Inject everything planned, or what can be until `deadline` on the monotonic clock, drain, and ask the oracle."""
    report = Report(seed, line.whole)
    try:
        for number, (fault, own) in enumerate(planned):
            if time.monotonic() > deadline:
                console.log(f"time is up: {len(planned) - number} injections were left out")
                break
            done = inject(line, fault, own)
            report.injections.append(done)
            console.log(f"{number + 1}/{len(planned)} {fault.name} ({own}): {_outcome(done)}")
    except KeyboardInterrupt:
        report.stopped = True
        console.log("stopped; what was done is judged all the same")
    conclude(line, report, {fault.name for fault, _ in planned if fault.may_drop})
    return report


def conclude(line: Line, report: Report, may_drop: Collection[str] | None = None) -> None:
    """Drain the line, ask the oracle, and note in `report` what it says.

    After a fault that is not in `may_drop` a dropped frame is a finding too, though it was counted; None where the load
    alone may fill a spool.
    """
    line.drain()
    rule = RULE if line.whole else None
    world = line.evidence.settle(PATIENCE_SECONDS, rule, partial(_told_lost, line))
    report.findings = judge(world, rule)
    report.counted = {
        "captured": len(world.captured),
        "acknowledged": len(world.acknowledged),
        "inspected": len(world.inspected),
        "dead-lettered": len(world.dead),
        "dropped": len(world.dropped),
        "in doubt": len(world.doubted - world.inspected.keys() - world.dead.keys()),
        "lost to retention, with an alarm": world.alarmed,
        "alerts": len(world.alerts),
    }
    begins = sorted((one.began, one.fault) for one in report.injections if not one.missed)
    captured_at = line.evidence.captured_at
    if may_drop is not None and (idly := dropped_idly(world.dropped, captured_at, begins, may_drop)):
        report.findings.append(Finding("dropped after faults that may cost none", tuple(sorted(idly))))
    _blame(report, captured_at, world.dropped)


def dropped_idly(
    dropped: Iterable[Key], captured_at: Mapping[Key, float], begins: list[tuple[float, str]], may_drop: Collection[str]
) -> set[Key]:
    """Those of `dropped` that no fault of `may_drop` explains.

    One explains what was captured from some seconds before it began, which waited in memory, until its backlog is gone.
    """
    excused = [(began - QUEUE_SECONDS, began + BACKLOG_SECONDS) for began, name in begins if name in may_drop]
    return {
        key
        for key in dropped
        if key in captured_at and not any(first <= captured_at[key] <= last for first, last in excused)
    }


def _told_lost(line: Line) -> int:
    """Frames and dead letters that alarms have told to be lost."""
    readers = (line.score, line.history) if line.whole else ()
    return sum(alarmed(line.log_since(reader, 0)) for reader in readers)


def inject(line: Line, fault: Fault, seed: str) -> Injection:
    """Do it once, and wait until the line has its rate again; what ended is started anew, as a service manager does."""
    began = time.time()
    recovery = broken = missed = None
    try:
        since = fault.inject(line, random.Random(seed))
        line.revive()
        recovery = _next_commit(line, since) if fault.table else line.gauge.recovery(since, STALLED_SECONDS)
        if recovery is None:
            broken = f"not back after {STALLED_SECONDS:g} s"
    except (MissedError, OSError) as error:
        # OSError: the broker was asked for the moment while it was away after the fault before
        missed = str(error)
    except BrokenError as error:
        broken = str(error)
    except Exception as error:  # noqa: BLE001 - whatever went wrong is this injection's result, and others follow
        broken = f"{type(error).__name__}: {error}"
    line.revive()
    return Injection(fault.name, seed, began, time.time(), recovery, broken, missed, fault.within)


def show(console: Console, *reports: Report) -> None:
    """The table by fault, the totals, and what is broken, over all the runs."""
    names = ("fault", "injections", "missed", "frames", "dropped", "lost", "duplicated", "recovery s: median", "max")
    table = Table(*names, box=None)
    by_fault: dict[str, list[Injection]] = {}
    for one in sorted((one for report in reports for one in report.injections), key=lambda one: one.fault):
        by_fault.setdefault(one.fault, []).append(one)
    for name, all_of_it in by_fault.items():
        done = [one for one in all_of_it if not one.missed]
        times = [one.recovery for one in done if one.recovery is not None]
        blamed = [report.blamed.get(name, {}) for report in reports]
        table.add_row(
            name,
            str(len(done)),
            str(len(all_of_it) - len(done)),
            str(sum(report.captured.get(name, 0) for report in reports)),
            str(sum(report.dropped.get(name, 0) for report in reports)),
            str(sum(kinds.get("lost", 0) for kinds in blamed)),
            str(sum(kinds.get("duplicated", 0) for kinds in blamed)),
            f"{median(times):.1f}" if times else "",
            f"{max(times):.1f}" if times else "",
        )
    console.print(table)
    done = [one for all_of_it in by_fault.values() for one in all_of_it if not one.missed]
    counted: Counter[str] = Counter()
    for report in reports:
        counted.update(report.counted)
    counts = ", ".join(f"{count} {fate}" for fate, count in counted.items())
    seeds = ", ".join(str(report.seed) for report in reports)
    kinds = len({one.fault for one in done})
    console.print(f"{len(done)} injections of {kinds} kinds, seed {seeds}; {counts}")
    for report in reports:
        _show_faults(console, report)


def _show_faults(console: Console, report: Report) -> None:
    for fault in report.faults:
        console.print(f"[bold red]broken:[/] {fault}", soft_wrap=True)
    for one in report.injections:
        if one.missed:
            console.print(f"missed: {one.fault} ({one.seed}): {one.missed}", soft_wrap=True)
    for one in report.slow:
        console.print(f"slow: {one.fault} ({one.seed}): {one.recovery:.1f} s, at most {one.within:g} s")
    for name, kinds in sorted(report.blamed.items()):
        frames = ", ".join(f"{count} {kind}" for kind, count in kinds.items())
        console.print(
            f"after {name}: {frames}; again: python -m benchmarks.chaos --seed {report.seed} --only {name}",
            soft_wrap=True,
        )


def write(report: Report, folder: Path) -> Path:
    """The report as JSON, named by its moment."""
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / f"chaos-{datetime.now(UTC):%Y%m%dT%H%M%S}-{report.seed}.json"
    file.write_text(json.dumps({"machine": machine(), **asdict(report)}, indent=2) + "\n")
    return file


def read(file: Path) -> Report:
    """The report that `write` wrote."""
    found = json.loads(file.read_text())
    del found["machine"]
    injections = [Injection(**one) for one in found.pop("injections")]
    findings = [Finding(one["kind"], tuple(map(tuple, one["keys"]))) for one in found.pop("findings")]
    return Report(**found, injections=injections, findings=findings)


def _next_commit(line: Line, since: float) -> float | None:
    """Seconds from `since` to a commit of inspections that is made from now on."""
    log = line.tables / "inspections" / "_delta_log"
    before = newest(log)
    while time.monotonic() - since < STALLED_SECONDS:
        if newest(log) > before:
            return time.monotonic() - since
        time.sleep(0.05)
    return None


def _outcome(done: Injection) -> str:
    if done.missed:
        return f"missed, {done.missed}"
    if done.slow:
        return f"recovered after {done.recovery:.1f} s, at most {done.within:g} s are allowed"
    if done.broken:
        return f"[bold red]{done.broken}[/]"
    return f"recovered after {done.recovery:.1f} s" if done.recovery is not None else "done"


def _blame(report: Report, captured_at: Mapping[Key, float], dropped: Collection[Key]) -> None:
    """Give each frame to the last fault that began before it was captured."""
    begins = sorted((one.began, one.fault) for one in report.injections)

    def last(at: float) -> str:
        before = [name for began, name in begins if began <= at + 1]
        return before[-1] if before else "start"

    owner = {key: last(at) for key, at in captured_at.items()}
    for key, name in owner.items():
        report.captured[name] = report.captured.get(name, 0) + 1
        if key in dropped:
            report.dropped[name] = report.dropped.get(name, 0) + 1
    for finding in report.findings:
        for key in finding.keys:
            of_fault = report.blamed.setdefault(owner.get(key, "start"), {})
            of_fault[finding.kind] = of_fault.get(finding.kind, 0) + 1
