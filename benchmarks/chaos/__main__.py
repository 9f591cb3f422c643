"""`python -m benchmarks.chaos`: break a running line in every way there is, and count what became of every frame."""

from __future__ import annotations

import signal
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from benchmarks.chaos.catalogue import CATALOGUE
from benchmarks.chaos.experiment import Report, conclude, read, run, schedule, show, write
from benchmarks.chaos.fault import Fault
from benchmarks.chaos.grown import GrownLine
from benchmarks.chaos.line import DISKS, DISKS_OF_AN_HOUR, Line
from benchmarks.chaos.soak import SHARE, grown, saturation
from benchmarks.chaos.soak import run as soaked
from benchmarks.chaos.soak import show as show_soak
from benchmarks.chaos.soak import write as write_soak
from benchmarks.measured import wide_console
from sightline import cli
from sightline.errors import SettingsError
from sightline.settings import run_folder

app = typer.Typer()
SHORT_INJECTIONS = 6


@app.command()
def chaos(
    seed: Annotated[int, typer.Option(help="Seed of all random choices.")] = 0,
    only: Annotated[list[str] | None, typer.Option(help="A kind of fault, once for each; all without it.")] = None,
    injections: Annotated[int | None, typer.Option(min=1, help="So many at most; each kind's own number else.")] = None,
    short: Annotated[bool, typer.Option("--short", help="A few faults of cameras, network and broker alone.")] = False,
    minutes: Annotated[float, typer.Option(min=0.1, help="No injection begins later than this.")] = 240.0,
    soak: Annotated[
        float | None, typer.Option(min=1, help="Minutes of a steady 70 % load with a random fault now and then.")
    ] = None,
    together: Annotated[
        list[Path] | None, typer.Option(help="Break nothing: one table of earlier runs, a file of run/chaos each.")
    ] = None,
    cameras: Annotated[int, typer.Option(min=1, help="Cameras that send.")] = 4,
    fps: Annotated[float, typer.Option(min=1, help="Frames a second of each.")] = 5.0,
) -> None:
    """Break a running line on purpose, at seeded moments.

    Exit code 1 when a frame was lost, doubled, made up, judged wrongly or dropped where none may be, when the line came
    back too late, when a fault could never be done, or when memory, handles or latency grew over a soak.

    Starts a deployment of its own, with small disks where it may mount them. The results go to run/chaos.
    """
    if together:
        earlier = [read(file) for file in together]
        show(wide_console(), *earlier)
        raise typer.Exit(int(any(report.faults or report.slow for report in earlier)))
    # ended by `timeout` or a service manager, it stops what it started, as after Ctrl-C
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    if unknown := sorted(set(only or ()) - CATALOGUE.keys()):
        raise SettingsError(f"--only {unknown[0]}: no such fault; there are {', '.join(sorted(CATALOGUE))}")
    results = (run_folder() / "chaos").absolute()
    console = wide_console()
    faults = [CATALOGUE[name] for name in only or CATALOGUE]
    if short:
        faults = [fault for fault in faults if not (fault.whole or fault.needs)]
        injections = injections or SHORT_INJECTIONS
    deadline = time.monotonic() + minutes * 60
    how: Callable[[Line, list[Fault]], Report] = partial(
        _in_turns, seed=seed, injections=injections, deadline=deadline, console=console
    )
    if soak:
        faults = [fault for fault in faults if not fault.grown]
        how = partial(_soak, seed=seed, minutes=soak, results=results, console=console)
    reports = []
    for kind in (Line, GrownLine):
        if those := [fault for fault in faults if fault.grown == (kind is GrownLine)]:
            with tempfile.TemporaryDirectory(prefix="sightline-chaos-") as folder:
                made = kind(
                    Path(folder) / "run",
                    cameras=cameras,
                    fps=fps,
                    whole=any(fault.whole for fault in those),
                    disks=DISKS_OF_AN_HOUR if soak else DISKS,
                )
                reports.append(_break(made, those, how, results, console))
            console.print(f"results: {write(reports[-1], results)}")
            if reports[-1].stopped:
                break
    show(console, *reports)
    if any(report.faults or report.slow for report in reports):
        raise typer.Exit(1)


def _break(
    line: Line, faults: list[Fault], how: Callable[[Line, list[Fault]], Report], results: Path, console: Console
) -> Report:
    """Those of `faults` that can be done here, done to `line` in one way or the other; keeps logs when it broke."""
    with line:
        can = [fault for fault in faults if fault.needs is None or fault.needs in line.has]
        for fault in faults:
            if fault not in can:
                console.log(f"not run: {fault.name} needs {fault.needs}, which only root can make")
        report = how(line, can)
    if report.faults:
        kept = results / f"logs-{report.seed}"
        _keep_logs(line.folder / "logs", kept)
        console.log(f"logs: {kept}")
    return report


def _in_turns(
    line: Line, faults: list[Fault], *, seed: int, injections: int | None, deadline: float, console: Console
) -> Report:
    return run(line, schedule(faults, seed, injections), seed, console, deadline)


def _soak(line: Line, faults: list[Fault], *, seed: int, minutes: float, results: Path, console: Console) -> Report:
    most = saturation(line, console)
    console.log(f"the line keeps up with {most:.0f} frames/s; the soak sends {SHARE:.0%} of that")
    line.change_rate(SHARE * most)
    report, sampler = soaked(line, faults, seed, minutes, console)
    show_soak(console, sampler.samples)
    for file in write_soak(report, sampler, line.rate, results):
        console.print(f"soak: {file}")
    conclude(line, report)
    report.grown = grown(sampler.samples)
    return report


def _keep_logs(logs: Path, kept: Path) -> None:
    kept.mkdir(parents=True, exist_ok=True)
    for file in logs.glob("*.log"):
        (kept / file.name).write_bytes(file.read_bytes())


if __name__ == "__main__":
    cli.run(app)
