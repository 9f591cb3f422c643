"""`sightline simulate`: write a labelled folder of simulated pictures."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table


def _list(asked: bool) -> None:
    if not asked:
        return
    from producers.simulator import DEFECTS, PRODUCTS

    console = Console()
    table = Table("defect", "what happened", title="products: " + ", ".join(PRODUCTS))
    for name, defect in DEFECTS.items():
        table.add_row(name, (defect.__doc__ or "").split(";")[0].split(":")[0].rstrip("."))
    console.print(table)
    raise typer.Exit


def simulate(
    folder: Annotated[Path, typer.Argument(help="Where to write: a new or an empty folder.")],
    product: Annotated[
        str, typer.Option("--product", "-p", help="What the line makes; `--list` names all products and defects.")
    ] = "bottle_cap",
    seed: Annotated[int, typer.Option(help="The same seed gives the same pictures, byte for byte.")] = 0,
    train: Annotated[int, typer.Option(help="Good pictures to learn from, in train/good.")] = 160,
    test_good: Annotated[int, typer.Option(help="Good pictures to test with, in test/good.")] = 40,
    test_defective: Annotated[
        int, typer.Option(help="Bad pictures to test with, shared out over the kinds, in test/KIND.")
    ] = 80,
    kind: Annotated[
        list[str] | None, typer.Option("--kind", "-k", help="Only this kind of defect; repeat for several.")
    ] = None,
    width: Annotated[int, typer.Option(help="Pixels across, 64 to 4096.")] = 640,
    height: Annotated[int, typer.Option(help="Pixels down, 64 to 4096.")] = 480,
    listed: Annotated[
        bool, typer.Option("--list", is_eager=True, callback=_list, help="Name all products and defects, and leave.")
    ] = False,
) -> None:
    """Write a labelled folder of simulated parts, good and defective.

    The folder has the layout of MVTec AD: train/good, test/good, test/KIND, and in ground_truth/KIND a mask for each
    bad picture, white where the defect shows. Anything that reads that layout can learn from it.

    Examples:

    - `sightline simulate data/caps` writes 160 + 40 good and 80 bad bottle caps.

    - `sightline simulate data/gears -p gear -k crack -k chip --test-defective 20` writes gears of two kinds of defect.
    """
    del listed
    from producers.simulator.dataset import write_dataset

    console = Console()
    with console.status(f"rendering {train + test_good + test_defective} pictures of {product}"):
        summary = write_dataset(
            folder, product, seed, train, test_good, test_defective, width=width, height=height, kinds=kind or None
        )
    table = Table("folder", "pictures", title=f"{summary.total} pictures of {product}, seed {seed}")
    for place, count in summary.counts.items():
        table.add_row(str(summary.folder / place), str(count))
    console.print(table)
