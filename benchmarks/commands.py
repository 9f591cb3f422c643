"""`sightline bench`: the figures of `docs/benchmarks.md`, printed by whoever doubts them."""

from __future__ import annotations

from collections.abc import Callable
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from benchmarks.measured import Part

app = typer.Typer()


class PartName(StrEnum):
    """What can be measured by itself."""

    RUNTIME = "runtime"
    PIPELINE = "pipeline"
    LATENCY = "latency"
    BASELINES = "baselines"
    NAIVE = "naive"
    SQL = "sql"
    HISTORY = "history"
    SCALING = "scaling"
    BROKERS = "brokers"
    OVERLOAD = "overload"
    SERVING = "serving"


@app.command(rich_help_panel="Infrastructure")
def bench(
    parts: Annotated[list[PartName] | None, typer.Argument(help="What to measure; all without any.")] = None,
    frames: Annotated[str, typer.Option(help="Size of the frames: 720p or 256px.")] = "720p",
    images: Annotated[Path | None, typer.Option(help="Folder of pictures to send instead of simulated parts.")] = None,
    method: Annotated[str, typer.Option(help="Method of the detector, trained first where it is absent.")] = "padim",
    int8: Annotated[bool, typer.Option("--int8", help="That detector's INT8 form.")] = False,
    rounds: Annotated[int, typer.Option(min=1, help="Rounds that count; one more warms up.")] = 5,
    seconds: Annotated[float, typer.Option(min=5, help="How long a load is held for latencies.")] = 180.0,
    with_history: Annotated[
        bool, typer.Option("--with-history", help="In `latency`, tables are filled on the same cores.")
    ] = False,
    processes: Annotated[int, typer.Option(min=1, help="Processes of the bare runtime, one a core.")] = 2,
    anomalib: Annotated[
        Path | None, typer.Option(help="Python of an environment with anomalib: a side of `baselines`.")
    ] = None,
    output: Annotated[Path | None, typer.Option(help="Folder of results and plots; run/bench/results.")] = None,
) -> None:
    """Measure this machine: throughput against the bare runtime, latency under load, and simpler ways beside them.

    Starts a broker, the score query and the incident process of its own in run/bench; nothing else should run. All
    parts take about an hour, `history` writes 4 GB. Exit code 1 when a frame was lost.

    Examples:

    `sightline bench`

    `sightline bench pipeline --frames 256px --rounds 3`

    `sightline bench latency --seconds 3600`

    `SIGHTLINE_SCORE_PRECISION=bf16 sightline bench pipeline --int8`
    """
    import os
    import signal

    from rich.console import Console

    from benchmarks import baselines, history, latency, overload, pictures, pipeline, plots, runtime, scaling, serving
    from benchmarks.line import PRODUCT, SEED, data_folder, make_champion, quantised, trained
    from benchmarks.measured import machine, show, write_json
    from sightline.errors import SettingsError
    from sightline.settings import run_folder

    if frames not in pictures.SIZES:
        raise SettingsError(f"--frames is {frames!r}, expected one of {', '.join(pictures.SIZES)}")
    # ended by `timeout` or a service manager, it stops what it started, as after Ctrl-C
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    console, folder = Console(), (run_folder() / "bench").absolute()
    results = output or folder / "results"
    size = pictures.SIZES[frames]
    console.log("preparing a detector and frames")
    sent = pictures.from_folder(images, *size) if images else pictures.simulated(PRODUCT, *size, seed=SEED)
    os.environ["SIGHTLINE_RUN"] = str(folder)
    plain = trained(folder, sent, method)
    bundle = quantised(plain, data_folder(folder, sent)) if int8 else plain
    make_champion(bundle)
    sides: dict[PartName, Callable[[], Part]] = {
        PartName.RUNTIME: lambda: runtime.measure(bundle),
        PartName.PIPELINE: lambda: pipeline.measure(
            folder, bundle, plain, sent, console, rounds=rounds, processes=processes
        ),
        PartName.LATENCY: lambda: latency.measure(folder, sent, console, seconds=seconds, history=with_history),
        PartName.BASELINES: lambda: baselines.measure(
            folder, bundle, plain, sent, console, rounds=rounds, processes=processes, anomalib=anomalib
        ),
        PartName.SQL: lambda: _sql(folder, bundle, data_folder(folder, sent)),
        PartName.HISTORY: lambda: history.as_part(history.measure(folder / "history", rounds=rounds)),
        PartName.SCALING: lambda: scaling.measure(folder, sent, console, rounds=min(rounds, 3)),
        PartName.BROKERS: lambda: scaling.measure_brokers(folder, sent, console),
        PartName.OVERLOAD: lambda: overload.measure(folder, sent, console, seconds=min(seconds, 60)),
        PartName.SERVING: lambda: serving.measure(folder, bundle, sent, console, rounds=rounds, processes=processes),
        PartName.NAIVE: lambda: latency.measure(folder, sent, console, seconds=seconds, module="benchmarks.naive"),
    }
    facts, measured = machine(), []
    for name in dict.fromkeys(parts or PartName):
        console.rule(name)
        part = sides[name]()
        measured.append(part)
        write_json(results / "bench.json", facts, measured)
        show(console, part)
        if name in (PartName.LATENCY, PartName.NAIVE):
            plots.latency(part.facts, results / f"{name}.png")
            plots.load(part.facts, results / f"{name}-load.png")
    console.print(f"results and plots: {results}")
    if any(part.faults for part in measured):
        raise typer.Exit(1)


def _sql(folder: Path, bundle: Path, pictures: Path) -> Part:
    from benchmarks import sql
    from infra.spark import SparkSettings, build_session

    spark = build_session("sightline-bench", SparkSettings.load(folder=folder / "spark"))
    return sql.as_part(sql.measure(bundle, pictures, spark))
