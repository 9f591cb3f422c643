"""The command `sightline ingest`: pictures or archived frames into a training set."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

app = typer.Typer()


@app.command()
def ingest(
    source: Annotated[
        str, typer.Argument(help="A folder of pictures, or `archive` for the frames that the line has kept.")
    ],
    product: Annotated[str, typer.Option(help="What the pictures show; of the archive, its frames are taken.")],
    output: Annotated[Path, typer.Option(help="The new folder of the training set.")],
    good: Annotated[list[str] | None, typer.Option(help="Folder: names of subfolders with good parts.")] = None,
    part_pattern: Annotated[
        str | None,
        typer.Option(help="Folder: regular expression on the path; its groups name the part, as `(part[0-9]+)`."),
    ] = None,
    part_folders: Annotated[
        bool, typer.Option("--part-folders", help="Folder: all pictures of one subfolder show one part.")
    ] = False,
    parts: Annotated[
        Path | None, typer.Option(help="Folder: a CSV with the columns `path` and `part` that tells the parts.")
    ] = None,
    camera: Annotated[str | None, typer.Option(help="Archive: frames of this camera only.")] = None,
    days: Annotated[float | None, typer.Option(min=0.01, help="Archive: frames of the last so many days.")] = None,
    gap_seconds: Annotated[
        float, typer.Option(help="Archive: frames of one camera that are closer than this show one part.")
    ] = 1.0,
    frames_per_part: Annotated[
        int | None, typer.Option(min=1, help="Archive: so many sequence numbers are one part, whatever their times.")
    ] = None,
    limit: Annotated[int | None, typer.Option(min=1, help="Most pictures of one label.")] = None,
    train: Annotated[float, typer.Option(help="Share of the parts to learn from.")] = 0.7,
    validation: Annotated[float, typer.Option(help="Share of the parts to choose settings with.")] = 0.1,
    test: Annotated[float, typer.Option(help="Share of the parts to measure with.")] = 0.2,
    seed: Annotated[int, typer.Option(help="Another seed deals the parts out otherwise.")] = 0,
    mixed_sizes: Annotated[
        bool, typer.Option("--mixed-sizes", help="Pictures of different sizes are meant to be in one set.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the manifest's counts as JSON.")] = False,
) -> None:
    """Make a training set: checked, labelled, split by parts, with a manifest.

    All frames of one part fall into one split, chosen by a hash: added data never moves an old part. Parts with a
    defect are never learnt from. What cannot be used is counted by reason; a set that cannot be learnt from is refused.

    Examples: `sightline ingest photos --product cap --output sets/cap --part-pattern '(cap[0-9]+)'`,
    `sightline ingest archive --product cap --days 30 --output sets/cap`

    Settings: `[tables]`, `[spark]`.
    """
    from datetime import UTC, datetime, timedelta

    import msgspec

    from infra.spark import build_session
    from sightline.settings import TableSettings
    from sightline.trainingset import Fractions
    from streaming.ingest import IngestOptions, PictureSource
    from streaming.ingest import ingest as run
    from streaming.ingest_archive import ArchiveSource
    from streaming.ingest_folder import FolderSource, PartRule, read_parts

    options = IngestOptions(product, output, Fractions(train, validation, test), seed, limit, mixed_sizes)
    chosen: PictureSource
    if source == "archive":
        since = datetime.now(UTC) - timedelta(days=days) if days else None
        chosen = ArchiveSource(TableSettings.load(), product, camera, since, gap_seconds, frames_per_part)
    else:
        rule = PartRule(part_pattern, part_folders, read_parts(parts) if parts else None)
        chosen = FolderSource(Path(source), rule, tuple(good or ["good"]))
    spark = build_session("sightline-ingest")
    try:
        manifest = run(spark, chosen, options)
    finally:
        spark.stop()
    summary = {
        "output": str(output),
        "digest": manifest.digest,
        "parts": len({picture.part for picture in manifest.pictures}),
        "counts": manifest.counts,
        "refused": manifest.refused,
    }
    if as_json:
        typer.echo(msgspec.json.encode(summary).decode())
        return
    typer.echo(f"{output}: {len(manifest.pictures)} pictures of {summary['parts']} parts ({manifest.part_rule})")
    for split, labels in manifest.counts.items():
        typer.echo(f"  {split:<11}" + ", ".join(f"{count} {label}" for label, count in labels.items()))
    if manifest.refused:
        typer.echo("  left out   " + ", ".join(f"{count} {reason}" for reason, count in manifest.refused.items()))
