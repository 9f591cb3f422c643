"""`sightline status` for people and for machines."""

from __future__ import annotations

from datetime import datetime

import msgspec
from rich.console import Console
from rich.table import Table
from rich.text import Text

from console.output import terminal
from console.status import Status, look
from sightline.settings import KafkaSettings, TableSettings

NOTHING_RUNS = 3
_STYLES = {"running": "green", "silent": "bold yellow", "killed": "bold red", "ok": "green", "review": "yellow"}
_STALE_SECONDS = 60.0


def run(kafka: KafkaSettings, tables: TableSettings, *, json: bool) -> int:
    """Print the status; the exit code is 0 when something runs, else 3."""
    status = look(kafka, tables)
    console = terminal()
    if json:
        told = msgspec.to_builtins(status) | {"running": status.running}
        console.out(msgspec.json.format(msgspec.json.encode(told)).decode(), highlight=False)
    else:
        show(status, console)
    return 0 if status.running else NOTHING_RUNS


def show(status: Status, console: Console) -> None:
    """One block each for processes, cameras and tables, as far as there is something to say."""
    if not status.running:
        console.print(Text("nothing runs in this run folder", style="bold yellow"))
        console.print(Text("`make demo` starts a whole line; SIGHTLINE_RUN names another run folder"))
    if status.processes:
        console.print(_processes(status))
    console.print(_summary(status))
    if status.cameras:
        console.print(_cameras(status))
    if status.tables:
        console.print(_tables(status))
    for part, why in status.faults.items():
        console.print(Text(f"{part}: ", style="bold red").append(why, style="default"))


def _table(*columns: tuple[str, str]) -> Table:
    table = Table(box=None, pad_edge=False, header_style="dim", padding=(0, 2, 0, 0))
    for name, justify in columns:
        table.add_column(name, justify=justify, no_wrap=True, overflow="ellipsis")  # type: ignore[arg-type]
    return table


def _processes(status: Status) -> Table:
    table = _table(
        ("process", "left"), ("state", "left"), ("up", "right"), ("per s", "right"), ("lag", "right"),
        ("memory", "right"), ("metrics", "left"),
    )  # fmt: skip
    for one in status.processes:
        table.add_row(
            one.name,
            Text(one.state, style=_STYLES[one.state]),
            _span(one.up_seconds),
            _number(one.per_second, 1),
            _number(one.lag),
            "-" if one.memory_bytes is None else f"{one.memory_bytes / 1e6:.0f} MB",
            one.address,
        )
    return table


def _summary(status: Status) -> Text:
    facts = {
        "wait to be judged": status.waiting_frames,
        "on cameras' disks": status.spooled_frames,
        "dead letters in the last hour": status.dead_letters_last_hour,
        "incidents open": status.open_incidents,
    }
    lines = [f"{name}: {value:,.0f}" for name, value in facts.items() if value is not None]
    detectors = [
        f"{one['product']} v{one['version']}" + ("" if one["alias"] == "champion" else f" ({one['alias']})")
        for one in status.detectors
    ]
    if detectors:
        lines.append(f"detectors: {', '.join(detectors)}")
    return Text("\n" + "; ".join(lines) + "\n" if lines else "")


def _cameras(status: Status) -> Table:
    table = _table(
        ("camera", "left"), ("product", "left"), ("verdict", "left"), ("score", "right"), ("limit", "right"),
        ("v", "right"), ("latency", "right"), ("ago", "right"),
    )  # fmt: skip
    for one in status.cameras:
        ago = _ago(status, one.captured_at)
        table.add_row(
            one.camera,
            one.product,
            Text(one.verdict, style=_STYLES.get(one.verdict, "bold red")),
            f"{one.score:.2f}",
            f"{one.threshold:.2f}",
            one.detector,
            _latency(one.latency_seconds),
            Text(_span(ago), style="bold yellow" if ago > _STALE_SECONDS else ""),
        )
    return table


def _tables(status: Status) -> Table:
    table = _table(("\ntable", "left"), ("\nrows", "right"), ("\nwritten", "right"))
    for one in status.tables:
        table.add_row(one.name, f"{one.rows:,}", f"{_span(_ago(status, one.written_at))} ago")
    return table


def _ago(status: Status, at: datetime) -> float:
    return max(0.0, (status.at - at).total_seconds())


def _number(value: float | None, digits: int = 0) -> str:
    return "-" if value is None else f"{value:,.{digits}f}"


def _span(seconds: float | None) -> str:
    if seconds is None:
        return "-"
    for size, unit in ((86_400, "d"), (3600, "h"), (60, "min")):
        if seconds >= 2 * size:
            return f"{seconds / size:.0f} {unit}"
    return f"{seconds:.0f} s"


def _latency(seconds: float) -> str:
    return f"{seconds * 1000:.0f} ms" if seconds < 10 else _span(seconds)
