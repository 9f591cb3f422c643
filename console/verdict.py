"""`sightline verify`: the accounts on a screen, and as JSON."""

from __future__ import annotations

from typing import Any

import msgspec
from rich import box
from rich.table import Table
from rich.text import Text

from console.accounts import RANGES_SHOWN, Accounts, CameraAccount, Problem
from console.output import Terminal, printable, reader_may_leave, terminal, write_line
from console.verify import verify
from sightline.settings import KafkaSettings, TableSettings

_FIGURES = 70
"""Cells that the columns of figures take in the table of cameras."""

CLEAN, FAULTY, UNFINISHED = 0, 1, 3
"""Exit codes: all is accounted for; something is wrong; nothing is wrong yet, but frames are still on their way."""


def run(tables: TableSettings, kafka: KafkaSettings | None, *, wait: float, json: bool) -> int:
    """Verify, print, and return the exit code."""
    out = terminal()
    if json:
        accounts = verify(tables, kafka, wait=wait)
        with reader_may_leave():
            write_line(msgspec.json.encode(as_json(accounts)))
    else:
        what = f"frames, waiting up to {wait:g} s for those on their way" if wait else "frames"
        with terminal(stderr=True).status(f"accounting for {what}"):
            accounts = verify(tables, kafka, wait=wait)
        show(accounts, out)
    return exit_code(accounts)


def exit_code(accounts: Accounts) -> int:
    if accounts.problems:
        return FAULTY
    return UNFINISHED if accounts.in_flight else CLEAN


def as_json(accounts: Accounts) -> dict[str, Any]:
    """The accounts as plain values, with the verdict in words."""
    plain: dict[str, Any] = msgspec.to_builtins(accounts)
    for camera, account in zip(plain["cameras"], accounts.cameras, strict=True):
        camera["dropped"] = account.dropped
    return {"clean": accounts.clean, "verdict": verdict(accounts), "in_flight": accounts.in_flight} | plain


def verdict(accounts: Accounts) -> str:
    """One line that says it all."""
    captured = sum(camera.captured for camera in accounts.cameras)
    frames = f"{captured:,} frames of {len(accounts.cameras)} camera{'' if len(accounts.cameras) == 1 else 's'}"
    if accounts.clean:
        lost = sum(camera.dropped for camera in accounts.cameras)
        return f"clean: all {frames} are accounted for" + (f", {lost:,} of them dropped and counted" if lost else "")
    if accounts.problems:
        faults = ", ".join(f"{problem.kind} {problem.count:,}" for problem in accounts.problems)
        return f"NOT clean: {frames}; {faults}"
    return f"not finished: {accounts.in_flight:,} of {frames} are still on their way; --wait 60 waits for them"


def show(accounts: Accounts, out: Terminal) -> None:
    """Everything for a person; the verdict comes last."""
    if accounts.cameras:
        out.print(_table(accounts.cameras, out.width))
    _show_losses(accounts, out)
    _show_unplaced(accounts, out)
    for problem in accounts.problems:
        _show_problem(problem, out)
    for note in accounts.notes:
        out.print(f"note: {printable(note)}", style="yellow")
    if accounts.broker:
        out.print(f"compared with the frames topic at {accounts.broker}", style="dim")
    if not accounts.cameras:
        out.print("no camera has published anything yet", style="yellow")
    out.print(
        verdict(accounts), style="bold green" if accounts.clean else "bold red" if accounts.problems else "yellow"
    )


def _table(cameras: tuple[CameraAccount, ...], width: int) -> Table:
    table = Table(box=box.SIMPLE_HEAD, show_edge=False, padding=(0, 1, 0, 0), header_style="bold")
    # names give way, figures do not
    table.add_column("camera", overflow="ellipsis", no_wrap=True, max_width=max(8, width - _FIGURES))
    for name in ("captured", "inspected", "dead", "dropped", "doubt", "flight", "missing", "double"):
        table.add_column(name, justify="right", no_wrap=True)
    for camera in cameras:
        doubt = sum(lost.frames for lost in camera.lost if lost.kind == "in-doubt")
        table.add_row(
            printable(camera.camera),
            f"{camera.captured:,}",
            f"{camera.inspected:,}",
            _figure(camera.dead_lettered),
            _figure(camera.dropped - doubt),
            _figure(doubt),
            _figure(camera.in_flight, "yellow"),
            _figure(camera.missing, "bold red"),
            _figure(camera.twice + camera.duplicated + camera.restarted, "bold red"),
        )
    return table


def _figure(count: int, style: str = "") -> Text:
    return Text(f"{count:,}", style) if count else Text("·", "dim")


def _show_losses(accounts: Accounts, out: Terminal) -> None:
    for camera in accounts.cameras:
        reasons = [
            f"{lost.frames:,} {'in doubt, ' if lost.kind == 'in-doubt' else ''}{lost.reason}" for lost in camera.lost
        ]
        if camera.turned_up:
            reasons.append(f"{camera.turned_up:,} that had been in doubt or left out were judged after all")
        if reasons:
            out.print(f"{camera.camera}: not judged: {'; '.join(reasons)}", style="dim")


def _show_unplaced(accounts: Accounts, out: Terminal) -> None:
    for letters in accounts.unplaced[:RANGES_SHOWN]:
        offsets = f"{letters.first_offset}–{letters.last_offset}" if letters.count > 1 else f"{letters.first_offset}"
        out.print(
            f"{letters.count:,} dead letter{'' if letters.count == 1 else 's'} that no camera can be given: "
            f"{letters.topic} partition {letters.partition} offset {offsets} ({', '.join(letters.reasons)})",
            style="dim",
        )


def _show_problem(problem: Problem, out: Terminal) -> None:
    out.print(Text(f"{problem.kind} {problem.count:,}", "bold red").append(f"  {problem.message}", "not bold default"))
    for line in [str(found) for found in problem.ranges] or problem.examples:
        out.print(f"    {printable(line)}")
    named = sum(found.last - found.first + 1 for found in problem.ranges) or len(problem.examples)
    if problem.count > named:
        out.print(f"    … and {problem.count - named:,} more", style="dim")
