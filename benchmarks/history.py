"""Ten questions over ten million inspections: `python -m benchmarks.history FOLDER [--frames N] [--json FILE]`.

Makes the history in FOLDER, or takes the one that is there, and asks every question of `console.questions` as
`sightline query` does: of the whole history, and of one day. The first round of a question opens the tables anew, as a
command does (log replay, views, footers), after the files were dropped from the page cache as far as the system lets
one; warm rounds ask again on the open connection. Files are counted by DuckDB, bytes by the system: all that was read,
from the cache too.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import time
from collections.abc import Mapping
from pathlib import Path
from statistics import median
from typing import Any

from rich.console import Console
from rich.table import Table

from benchmarks.history_data import generate
from benchmarks.history_line import Plan
from benchmarks.measured import Part, Series, wide_console
from console.questions import QUESTIONS, sql_of
from console.tables import open_history
from sightline.settings import TableSettings

TARGET_SECONDS = 2.0
_CAMERA = "line-2-cam-3"
_FILES_READ = re.compile(r"Total Files Read: (\d+)")


def measure(folder: Path, frames: int | None = None, rounds: int = 5) -> dict[str, Any]:
    """Seconds, files and bytes of each question, over all days and over one; makes the history where there is none."""
    plan = Plan() if frames is None else Plan(frames=frames)
    settings = TableSettings(root=str(folder))
    seconds = 0.0
    if not (folder / "inspections" / "_delta_log").exists():
        began = time.perf_counter()
        generate(settings, plan)
        seconds = time.perf_counter() - began
    began = time.perf_counter()
    history = open_history(settings)
    opening = time.perf_counter() - began
    history.connection.close()
    files = [path for path in folder.rglob("*.parquet") if "_delta_log" not in path.parts]
    return {
        "inspections": history.tables["inspections"].count(),
        "days": plan.days,
        "files": len(files),
        "bytes": sum(path.stat().st_size for path in files),
        "generated_s": round(seconds, 1),
        "open_s": round(opening, 3),
        "target_s": TARGET_SECONDS,
        "questions": {
            name: {
                "question": one.comment,
                "all": _ask(settings, name, _parameters(name, plan), files, rounds),
                "one_day": _ask(settings, name, _parameters(name, plan) | _day(plan), files, rounds),
            }
            for name, one in ((one.name, one) for one in QUESTIONS)
        },
    }


def _parameters(name: str, plan: Plan) -> dict[str, str]:
    """What a question cannot be asked without, or would hardly be."""
    middle = plan.of_camera(0) * (plan.days // 2) + 10
    match name:
        case "trace":
            return {"only_camera": _CAMERA, "only_sequence": str(middle)}
        case "inspection_list":
            return {"only_camera": _CAMERA, "only_verdict": "defect", "least_score": "0.9"}
        case _:
            return {}


def _day(plan: Plan) -> dict[str, str]:
    day = plan.first_day.toordinal() + plan.days // 2
    return {"since": type(plan.first_day).fromordinal(day).isoformat(),
            "until": type(plan.first_day).fromordinal(day + 1).isoformat()}  # fmt: skip


def _ask(
    settings: TableSettings, name: str, parameters: Mapping[str, str], files: list[Path], rounds: int
) -> dict[str, Any]:  # fmt: skip
    sql = sql_of(name, [f"{key}={value}" for key, value in parameters.items()])
    _forget(files)
    before, began = _bytes_read(), time.perf_counter()
    history = open_history(settings)
    rows = history.connection.sql(sql).to_arrow_table().num_rows
    cold = time.perf_counter() - began
    cold_bytes = _bytes_read() - before
    warm, cores = [], []
    for _ in range(rounds):
        before, began, worked = _bytes_read(), time.perf_counter(), time.process_time()
        history.connection.sql(sql).to_arrow_table()
        warm.append(round(time.perf_counter() - began, 4))
        cores.append(round(time.process_time() - worked, 4))
    plan = history.connection.execute(f"EXPLAIN ANALYZE {sql}").fetchall()[0][1]
    history.connection.close()
    return {
        "rows": rows,
        "first_s": round(cold, 4),
        "median_s": median(warm),
        "warm_s": warm,
        "processor_s": median(cores),
        "files_read": sum(map(int, _FILES_READ.findall(plan))),
        "bytes_read": cold_bytes,
        "met": cold <= TARGET_SECONDS and median(warm) <= TARGET_SECONDS,
    }


def _forget(files: list[Path]) -> None:
    """Ask the system to drop these files from its cache; what others have mapped stays."""
    if not hasattr(os, "posix_fadvise"):
        return
    for path in files:
        with path.open("rb") as file:
            os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def _bytes_read() -> int:
    """What this process has read so far, 0 where the system does not tell."""
    told = Path("/proc/self/io")
    return int(told.read_text().split("rchar: ")[1].split()[0]) if told.exists() else 0


def as_part(found: Mapping[str, Any]) -> Part:
    """The measurement as a part of `sightline bench`."""
    part = Part(f"history of {found['inspections']:,} inspections, {found['files']} files", dict(found))
    for name, one in found["questions"].items():
        for extent, words in (("all", f"all {found['days']} days"), ("one_day", "one day")):
            asked = one[extent]
            part.add(
                f"{name}, {words}, {asked['files_read']} files",
                Series(tuple(asked["warm_s"])),
                "s",
                most=TARGET_SECONDS,
            )
    return part


def show(found: Mapping[str, Any], out: Console) -> None:
    """The measurement as a table."""
    gigabytes = found["bytes"] / 1e9
    title = f"{found['inspections']:,} inspections, {found['files']} files, {gigabytes:.2f} GB"
    table = Table(title=title)
    for heading in ("question", "of", "first s", "warm s", "spread s", "processor s", "files", "MB read", "≤ 2 s"):
        table.add_column(heading, justify="left" if heading in ("question", "of") else "right")
    for name, one in found["questions"].items():
        for extent in ("all", "one_day"):
            asked = one[extent]
            table.add_row(
                name if extent == "all" else "", extent.replace("_", " "), f"{asked['first_s']:.2f}",
                f"{asked['median_s']:.2f}", f"{min(asked['warm_s']):.2f}–{max(asked['warm_s']):.2f}",
                f"{asked['processor_s']:.2f}", f"{asked['files_read']}", f"{asked['bytes_read'] / 1e6:.0f}",
                "met" if asked["met"] else "missed",
            )  # fmt: skip
    out.print(table)
    out.print(f"opening all tables: {found['open_s']:.2f} s; load of the machine now: {os.getloadavg()[0]:.1f}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--frames", type=int, help="of a history that is made now")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the measurement here as well")
    given = parser.parse_args()
    found = measure(given.folder, given.frames, given.rounds)
    if given.json:
        given.json.write_text(json.dumps(found, indent=2))
    show(found, wide_console())


if __name__ == "__main__":
    main()
