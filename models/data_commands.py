"""Commands around training data: look at it before anything is learnt."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

app = typer.Typer()


@app.command()
def explore(
    data: Annotated[
        Path, typer.Argument(help="A training set that `sightline ingest` made, MVTec AD's layout, or a flat folder.")
    ],
    output: Annotated[Path, typer.Option(help="Folder that the plots are written to, as PNG.")],
    mixed_sizes: Annotated[
        bool, typer.Option("--mixed-sizes", help="Pictures of different sizes are meant to be in one set.")
    ] = False,
    threads: Annotated[int, typer.Option(min=1, help="CPU threads.")] = 2,
) -> None:
    """Check a training set and draw it: samples, sizes and light, a map of what looks alike, near-duplicates.

    A set that cannot be learnt from is refused with all its faults.

    Example: `sightline explore sets/cap --output plots/cap`
    """
    from models.explore import explore as run

    for name, path in run(data, output, mixed_sizes=mixed_sizes, threads=threads).items():
        typer.echo(f"{name.replace('_', ' '):<16}{path}")
