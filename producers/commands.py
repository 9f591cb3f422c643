"""The commands of this room under `sightline`: `produce`, `record` and `simulate`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from producers.backlog import Policy
from producers.simulator.command import simulate
from sightline.errors import SettingsError, SourceError

if TYPE_CHECKING:
    from producers.job import CameraPlan, Summary
    from producers.settings import ProducerSettings
    from producers.spec import SourceSpec

app = typer.Typer()

Sources = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="SOURCE...",
        help="sim:PRODUCT?seed=3&defects=0.1, folder:PATH, video:FILE, usb:INDEX, or an rtsp:// or http:// URL; a bare "
        "path or number is recognised. One camera for each. Without any, those of `[producer] sources` in "
        "sightline.toml, where a camera's password is not seen in the list of processes.",
    ),
]


@app.command(rich_help_panel="Cameras")
def produce(
    sources: Sources = None,
    line: Annotated[str | None, typer.Option(help="Name of the production line.")] = None,
    camera: Annotated[
        list[str] | None, typer.Option(help="Name of a camera, once for each; cam-1, cam-2, … by default.")
    ] = None,
    cameras: Annotated[
        int | None,
        typer.Option(
            min=1,
            max=256,
            help="Cameras from one source: other parts of one simulated line, a folder's pictures dealt out, or the "
            "same video for each.",
        ),
    ] = None,
    product: Annotated[
        str | None, typer.Option(help="What the cameras see; chooses the detector. Known by itself for sim.")
    ] = None,
    fps: Annotated[
        float | None,
        typer.Option(
            min=0, help="Frames a second and camera, 0 for as fast as they leave; a video's own pace or 10 by default."
        ),
    ] = None,
    policy: Annotated[
        Policy | None,
        typer.Option(
            help="When frames come faster than they leave: block (default for files and simulation), drop-oldest "
            "(default for live cameras) or drop-newest. Dropped frames are counted and reported."
        ),
    ] = None,
    loop: Annotated[bool, typer.Option("--loop/--once", help="Begin again at the end of a folder or video.")] = False,
    frames: Annotated[int | None, typer.Option(min=1, help="Stop after so many frames of each camera.")] = None,
    seconds: Annotated[float | None, typer.Option(min=0, help="Stop after so many seconds.")] = None,
) -> None:
    """Publish frames of cameras, videos, folders or a simulated line to Kafka.

    Every frame gets the next sequence of its camera, across restarts and crashes. Ctrl-C or SIGTERM sends what was
    captured, then stops. Logs are JSON lines on stderr; the summary goes to stdout.

    Examples:

    `sightline produce sim:bottle_cap --cameras 4 --fps 20`

    `sightline produce folder:data/bottle/test --once --product bottle`

    `sightline produce usb:0 rtsp://10.0.0.7/stream --camera left --camera right --product gear`
    """
    import threading

    from producers import job
    from producers.settings import ProducerSettings
    from sightline import logs
    from sightline.settings import KafkaSettings

    settings = ProducerSettings.load(line=line, fps=fps, policy=policy)
    kafka = KafkaSettings.load().for_role("camera")
    plans = _plans(_specs(sources or [], cameras, settings), camera or [], product, loop, settings)
    logs.configure("producers")
    stopping = threading.Event()
    with job.stop_on_signals(stopping):
        summaries = job.run(plans, kafka, settings, frames=frames, seconds=seconds, stopping=stopping)
    _print(summaries)
    if failures := [f"{summary.camera}: {summary.failure}" for summary in summaries if summary.failure]:
        raise SourceError("; ".join(failures))


@app.command(rich_help_panel="Cameras")
def record(
    source: Annotated[str, typer.Argument(help="As for `produce`.")],
    folder: Annotated[Path, typer.Argument(help="A folder that does not exist yet, such as data/mine/train/good.")],
    frames: Annotated[int, typer.Option(min=1, help="How many frames to keep.")] = 120,
    every: Annotated[int, typer.Option(min=1, help="Keep one frame of so many, for more variety.")] = 1,
) -> None:
    """Save frames of a source as JPEGs, to train a detector on.

    Show only good parts while it runs.

    Example: `sightline record usb:0 data/mine/train/good --frames 200 --every 5`
    """
    from producers import recorder
    from producers.spec import Manner, build, parse

    written = recorder.record(build(parse(source), Manner()), folder, frames=frames, every=every)
    typer.echo(f"{written} frames in {folder}")


app.command(rich_help_panel="Cameras")(simulate)


def _specs(sources: Sequence[str], cameras: int | None, settings: ProducerSettings) -> list[SourceSpec]:
    from producers.spec import EXAMPLES, parse, split

    named = list(sources) or [source.get_secret_value() for source in settings.sources]
    if not named:
        raise SettingsError(f"no source is named; examples: {EXAMPLES}")
    specs = [parse(text) for text in named]
    if cameras is None:
        return specs
    if len(specs) != 1:
        raise SettingsError(f"--cameras {cameras} goes with one source, not with {len(specs)}")
    return split(specs[0], cameras)


def _plans(
    specs: Sequence[SourceSpec], names: Sequence[str], product: str | None, loop: bool, settings: ProducerSettings
) -> list[CameraPlan]:
    from producers.job import CameraPlan
    from producers.spec import Manner, build

    if names and len(names) != len(specs):
        raise SettingsError(f"{len(names)} names for {len(specs)} cameras; give --camera once for each, or never")
    manner = Manner(loop=loop, max_fps=settings.fps, read_timeout=settings.read_timeout, product=product)
    plans = []
    for number, spec in enumerate(specs):
        source = build(spec, manner)
        shows = source.product
        if not shows:
            raise SettingsError(f"{spec} does not know what it shows; name it with --product, it chooses the detector")
        plans.append(CameraPlan(name=names[number] if names else f"cam-{number + 1}", product=shows, source=source))
    return plans


def _print(summaries: Sequence[Summary]) -> None:
    for summary in summaries:
        tally = summary.tally
        dropped = ", ".join(f"{count} {reason}" for reason, count in sorted(tally.dropped.items())) or "none"
        kept = f", {tally.pending} on disk for the next start" if tally.pending else ""
        typer.echo(
            f"{summary.camera}: {tally.captured} captured, {tally.delivered} delivered, dropped: {dropped}{kept}"
        )
