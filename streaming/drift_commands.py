"""The command `sightline drift`: has what the cameras see changed since their reference?"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from datetime import datetime

    from streaming.drift import DriftRow, Period

app = typer.Typer()


@app.command()
def drift(
    reference: Annotated[
        str | None,
        typer.Option(
            metavar="FROM..TO|FRAMES",
            help="What is compared with: a time (dates or RFC 3339, UTC), or so many first frames of each detector.",
        ),
    ] = None,
    since: Annotated[
        str | None, typer.Option(metavar="TIME", help="Only windows that end after this date or RFC 3339 time (UTC).")
    ] = None,
    embeddings: Annotated[
        bool, typer.Option("--embeddings/--no-embeddings", help="Look at archived frames as well; takes the longest.")
    ] = True,
    as_json: Annotated[bool, typer.Option("--json", help="All rows as one JSON array, for machines.")] = False,
) -> None:
    """Say whether scores, picture quality and embeddings have drifted, and keep it in the table `gold_drift`.

    Each camera's frames of a day are compared with the first 10,000 that the same version of the detector judged there.
    Scores, blur and exposure by population stability index and Wasserstein distance; archived frames by the distance of
    their mean features. A value counts from its limit on, and never below what chance shows; with few frames there is
    none. Shown is, of each camera and window, the figure that is closest to its limit or furthest beyond.

    Run it daily; `sightline retrain PRODUCT --if-drifted` reads the table. Exit code 0, whatever is found.

    Examples: `sightline drift --since 2026-03-02`, `sightline drift --reference 2026-03-01..2026-03-04 --json`

    Settings: `[drift]` (windows, limits), `[tables]`, `[registry]`, `[spark]`.
    """
    from dataclasses import asdict

    import msgspec

    from infra.spark import build_session
    from sightline.settings import RegistrySettings, TableSettings
    from streaming.drift_run import run
    from streaming.drift_statistics import DriftSettings

    settings, tables = DriftSettings.load(), TableSettings.load()
    compared_with = _reference(reference) if reference else settings.reference_frames
    looked_up = RegistrySettings.load() if embeddings else None
    from_time = _time(since) if since else None
    spark = build_session("sightline-drift")
    try:
        found = run(spark, tables, settings, compared_with, since=from_time, registry_settings=looked_up)
    finally:
        spark.stop()
    if as_json:
        typer.echo(msgspec.json.encode([asdict(row) for row in found.rows]).decode())
    else:
        _print(found.rows)
    for line in found.notes:
        typer.echo(line, err=True)


def worst(rows: Sequence[DriftRow]) -> list[DriftRow]:
    """Of each camera, detector and window the row that is furthest beyond its limit, or closest to it."""
    by_window: dict[tuple[object, ...], DriftRow] = {}
    for row in rows:
        key = (row.camera, row.product, row.detector_digest, row.window_start)
        if key not in by_window or _share(row) > _share(by_window[key]):
            by_window[key] = row
    return [by_window[key] for key in sorted(by_window, key=str)]


def _share(row: DriftRow) -> float:
    return -1.0 if row.value is None else row.value / max(row.act, row.chance or 0.0)


def _print(rows: Sequence[DriftRow]) -> None:
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    if not rows:
        typer.echo("no window to compare yet")
        return
    table = Table("camera", "product", "detector", "window", "frames", "furthest", "value", "limit", "status")
    colours = {"drift": "red", "watch": "yellow"}
    for row in worst(rows):
        table.add_row(
            escape(row.camera),
            escape(row.product),
            row.detector_version,
            f"{row.window_start:%Y-%m-%d %H:%M}",
            f"{row.frames:,}",
            f"{row.measure} {row.statistic}",
            "–" if row.value is None else f"{row.value:.3f}",
            f"{max(row.act, row.chance or 0.0):.2f}",
            row.status,
            style=colours.get(row.status),
        )
    Console().print(table)


def _reference(text: str) -> Period | int:
    from streaming.drift import Period

    if text.isdecimal() and int(text) > 0:
        return int(text)
    first, dots, last = text.partition("..")
    if not dots:
        raise typer.BadParameter(f"reference is {text!r}, expected FROM..TO or a number of frames above 0")
    return Period(_time(first), _time(last))


def _time(text: str) -> datetime:
    from datetime import UTC, datetime

    try:
        found = datetime.fromisoformat(text)
    except ValueError:
        raise typer.BadParameter(f"{text!r} is no time, such as 2026-03-02 or 2026-03-02T06:00:00Z") from None
    return found.replace(tzinfo=UTC) if found.tzinfo is None else found
