"""`sightline notify status`: what waits, what was lost, and why."""

from __future__ import annotations

import time
from datetime import UTC, datetime

import msgspec
from rich.table import Table

from console.feed import duration
from console.notify.outbox import SinkState, as_json, read_states
from console.notify.settings import NotifySettings
from console.output import printable, reader_may_leave, terminal, write_line


def run(settings: NotifySettings, *, json: bool) -> None:
    """Print one row, or one JSON object, for each receiver that is configured or ever was."""
    found = {state.sink: state for state in read_states(settings.folder)}
    names = sorted({*settings.rules, *settings.modbus, *found})
    states = [found.get(name) or SinkState(name) for name in names]
    with reader_may_leave():
        if json:
            for state in states:
                write_line(msgspec.json.encode(as_json(state)))
        else:
            terminal().print(_table(states))


def _table(states: list[SinkState]) -> Table:
    table = Table("receiver", "waiting", "oldest", "sent", "muted", "failed", "lost", "last sent", "last error")
    for state in states:
        lost = state.refused + state.given_up + state.dropped + state.late
        error = f"{_clock(state.last_error_at)} {printable(state.last_error)}" if state.last_error else ""
        table.add_row(
            state.sink,
            str(state.waiting),
            duration(time.time() - state.oldest_at) if state.waiting else "",
            str(state.sent),
            str(state.muted),
            str(state.failed + state.unanswered),
            str(lost),
            _clock(state.last_sent_at),
            error,
        )
    return table


def _clock(seconds: float) -> str:
    return f"{datetime.fromtimestamp(seconds, UTC):%m-%d %H:%M:%S} UTC" if seconds else ""
