"""Commands around training data: look at it before anything is learnt, make variants of it, spoil it."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

app = typer.Typer()

_BATCH = 32


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


@app.command()
def augment(
    data: Annotated[Path, typer.Argument(help="A folder of good pictures, or a set with `train/good`.")],
    output: Annotated[Path, typer.Option(help="Folder that the pictures are written to, as PNG.")],
    size: Annotated[int, typer.Option(min=1, help="Pictures in all, the given ones included.")] = 1500,
    side: Annotated[int, typer.Option(min=32, max=4096, help="Side in pixels that pictures are scaled to.")] = 256,
    seed: Annotated[int, typer.Option(help="The same seed gives the same pictures.")] = 0,
    flip: Annotated[
        bool, typer.Option("--flip", help="Mirror too: for parts that look the same from either side.")
    ] = False,
) -> None:
    """Make variants of good pictures, up to a chosen number: moved, turned, scaled, lit, blurred, noisy.

    For other tools, or to see what variants are; `sightline train` makes its own.

    Example: `sightline augment parts/cap --output parts/cap-1500`
    """
    import cv2

    from models.augment import Changes, augment_to

    good = _good(data)
    _make(output)
    changes = Changes(flip_horizontal=flip, flip_vertical=flip)
    written = 0
    for batch in augment_to(good, size, seed=seed, changes=changes, shape=(side, side)):
        for image in batch:
            cv2.imwrite(str(output / f"{written:06}.png"), cv2.cvtColor(image, cv2.COLOR_RGB2BGR))
            written += 1
    typer.echo(f"{written} pictures of {len(good)} in {output}")


@app.command()
def synthesise(
    data: Annotated[Path, typer.Argument(help="A folder of good pictures, or a set with `train/good`.")],
    output: Annotated[Path, typer.Option(help="Folder that `test/KIND` and `ground_truth/KIND` are written to.")],
    count: Annotated[int, typer.Option(min=1, help="Pictures with a defect in all.")] = 100,
    kinds: Annotated[
        list[str] | None, typer.Option("--kind", help="Only this kind of defect; repeat. Without it all.")
    ] = None,
    side: Annotated[int, typer.Option(min=32, max=4096, help="Side in pixels that pictures are scaled to.")] = 256,
    seed: Annotated[int, typer.Option(help="The same seed gives the same defects.")] = 0,
) -> None:
    """Put made-up defects with exact masks into good pictures, and the good ones beside them: to try a detector on.

    The folder is in MVTec AD's layout, for `sightline evaluate`. Real defects may look otherwise.

    Example: `sightline synthesise parts/cap --output made/cap && sightline evaluate cap made/cap`
    """
    import cv2
    import numpy as np

    from models.dataset import GOOD, load_images
    from models.synthetic import ALL
    from models.synthetic import synthesise as run

    good = _good(data)
    _make(output)
    for start in range(0, count, _BATCH):
        chosen = [good[number % len(good)] for number in range(start, min(start + _BATCH, count))]
        images = load_images(chosen, side, side)
        made = run(images, seed + start, kinds or ALL)
        for offset, (image, mask, kind) in enumerate(zip(made.images, made.masks, made.kinds, strict=True)):
            name = f"{start + offset:06}"
            pictures = {f"test/{kind}/{name}.png": cv2.cvtColor(image, cv2.COLOR_RGB2BGR)}
            pictures[f"ground_truth/{kind}/{name}_mask.png"] = mask.astype(np.uint8) * 255
            if start + offset < len(good):
                pictures[f"test/{GOOD}/{name}.png"] = cv2.cvtColor(images[offset], cv2.COLOR_RGB2BGR)
            for path, pixels in pictures.items():
                (output / path).parent.mkdir(parents=True, exist_ok=True)
                cv2.imwrite(str(output / path), pixels)
    typer.echo(f"{count} pictures with a defect and {min(count, len(good))} good ones in {output}")


def _good(data: Path) -> tuple[Path, ...]:
    """Good pictures to start from, checked as for training."""
    from models.trainingset import load_training_set

    return load_training_set(data, mixed_sizes=True).dataset.good


def _make(output: Path) -> None:
    """An empty folder; raises SourceError where something lies there already."""
    from sightline.errors import SourceError

    if output.exists() and (not output.is_dir() or any(output.iterdir())):
        raise SourceError(f"{output} is not empty: name a new folder, so that no other pictures are mixed in")
    output.mkdir(parents=True, exist_ok=True)
