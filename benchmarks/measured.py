"""Repeated measurements, and the file and table that they end in."""

from __future__ import annotations

import json
import os
import platform
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import psutil
from rich.console import Console
from rich.table import Table


def wide_console() -> Console:
    """Of a terminal's own width, and wide enough for any table where there is none."""
    console = Console()
    return console if console.is_terminal else Console(width=120)


@dataclass(frozen=True, slots=True)
class Series:
    """One quantity, measured in several rounds."""

    values: tuple[float, ...]

    @property
    def median(self) -> float:
        return median(self.values)

    @property
    def spread(self) -> float:
        """Half of what lies between the lowest and the highest round, as a share of the median."""
        return (max(self.values) - min(self.values)) / 2 / self.median if self.median else 0.0

    def __str__(self) -> str:
        middle = f"{self.median:,.{1 if abs(self.median) >= 10 else 2}f}"
        return f"{middle} ± {self.spread:.0%}" if len(self.values) > 1 else middle


def rate(call: Callable[[], object], frames: int, seconds: float) -> float:
    """Frames a second of `call`, which does so many `frames`, again and again for as long as `seconds`."""
    done, began = 0, time.perf_counter()
    while (passed := time.perf_counter() - began) < seconds:
        call()
        done += frames
    return done / passed


def processor_seconds() -> float:
    """Processor time so far of this process, of its children, and of what these have started and waited for."""
    own = psutil.Process()
    return sum(own.cpu_times()[:2]) + sum(sum(child.cpu_times()[:4]) for child in own.children())


def ratio(above: Series, below: Series) -> Series:
    """Round by round, since the two sides of a round ran one right after the other."""
    return Series(tuple(a / b for a, b in zip(above.values, below.values, strict=True)))


def percentiles(values: Sequence[float], shares: Iterable[float] = (50, 90, 99, 100)) -> dict[str, float]:
    """`{"p50": …}`, NaN without values."""
    return {f"p{share:g}": float(np.percentile(values, share)) if len(values) else float("nan") for share in shares}


@dataclass(slots=True)
class Row:
    """One line of the table: `met` is None where there is no target."""

    what: str
    value: str
    target: str = ""
    met: bool | None = None


@dataclass(slots=True)
class Part:
    """The outcome of one part of the benchmark: `facts` goes to JSON, `rows` to people, `faults` fail the run."""

    name: str
    facts: dict[str, Any] = field(default_factory=dict)
    rows: list[Row] = field(default_factory=list)
    faults: list[str] = field(default_factory=list)

    def add(self, what: str, value: float | Series, unit: str = "", *, least: float = 0.0, most: float = 0.0) -> None:
        """A row and its fact; a target is given by `least` or `most`."""
        shown = str(value) if isinstance(value, Series) else f"{value:,.2f}"
        number = value.median if isinstance(value, Series) else value
        target = f"≥ {least:g}" if least else f"≤ {most:g}" if most else ""
        met = number >= least if least else number <= most if most else None
        self.rows.append(Row(what, f"{shown} {unit}".strip(), f"{target} {unit}".strip() if target else "", met))
        rounds = list(value.values) if isinstance(value, Series) else None
        self.facts[what] = {"value": number, "unit": unit, "rounds": rounds, "target": target or None, "met": met}


def machine() -> dict[str, Any]:
    """What the figures were taken on."""
    return {
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "processor": _processor(),
        "memory_gb": round(psutil.virtual_memory().total / 1e9, 1),
        "system": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
        "load_before": round(os.getloadavg()[0], 2),
        "at": datetime.now(UTC).isoformat(timespec="seconds"),
    }


def write_json(file: Path, facts: Mapping[str, Any], parts: Sequence[Part]) -> None:
    """Everything measured so far; written after each part, so that a run that is stopped keeps what it has."""
    file.parent.mkdir(parents=True, exist_ok=True)
    told = {part.name: {"name": part.name, "facts": part.facts, "faults": part.faults} for part in parts}
    content = {"machine": facts, "parts": told}
    file.write_text(json.dumps(content, indent=2, default=str) + "\n")


def show(console: Console, part: Part) -> None:
    """The part's table, its faults below it."""
    table = Table("what", "measured", "target", "", title=part.name, title_justify="left", title_style="bold")
    for row in part.rows:
        table.add_row(row.what, row.value, row.target, {None: "", True: "met", False: "missed"}[row.met])
    console.print(table)
    for fault in part.faults:
        console.print(f"[bold red]fault:[/] {fault}")


def _processor() -> str:
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.is_file() else []
    return next(
        (line.partition(":")[2].strip() for line in lines if line.startswith("model name")), platform.processor()
    )
