"""Frames a second of the default backbone alone, by which of its levels are in use: what bounds every detector.

`python -m benchmarks.backbone` takes turns between the choices, so that whatever else the machine does falls on all.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Annotated

import torch
import typer
from rich.console import Console
from rich.table import Table

from benchmarks.measured import Series, rate
from models.backbone import STRIDES
from models.compiled import compiled
from models.features import Features, FeatureSettings

LEVELS = (STRIDES, STRIDES[:2], STRIDES[1:2])
ROUNDS = 5


def measure(levels: Sequence[tuple[int, ...]], batch: int, seconds: float) -> dict[tuple[int, ...], Series]:
    """Frames a second in ROUNDS turns of each."""
    pixels = torch.zeros(batch, 3, 256, 256)
    # one channel: what the levels cost, not what is made of them
    networks = {chosen: compiled(Features(FeatureSettings(levels=chosen, dimensions=1)).eval()) for chosen in levels}
    for network in networks.values():
        network(pixels)
    turns = [[rate(partial(network, pixels), batch, seconds) for network in networks.values()] for _ in range(ROUNDS)]
    return {chosen: Series(values) for chosen, values in zip(networks, zip(*turns, strict=True), strict=True)}


def main(
    threads: Annotated[int, typer.Option(help="Threads of OpenVINO.")] = 2,
    batch: Annotated[int, typer.Option(help="Pictures at once.")] = 2,
    seconds: Annotated[float, typer.Option(help="Length of one turn.")] = 3.0,
) -> None:
    """Frames a second of the backbone at 256 × 256, without a head, by the strides of the levels in use."""
    torch.set_num_threads(threads)
    table = Table("strides", "frames/s, median", "lowest", "highest")
    with torch.inference_mode():
        for levels, found in measure(LEVELS, batch, seconds).items():
            shown = (found.median, min(found.values), max(found.values))
            table.add_row(", ".join(map(str, levels)), *(f"{value:.0f}" for value in shown))
    Console().print(table)


if __name__ == "__main__":
    typer.run(main)
