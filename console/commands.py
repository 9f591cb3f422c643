"""The commands of this room under `sightline`."""

from __future__ import annotations

import typer

app = typer.Typer()
