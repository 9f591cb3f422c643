"""The commands of this room under `sightline`: train a detector, list detectors, promote one."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

app = typer.Typer(no_args_is_help=True, rich_markup_mode="markdown")


class Method(StrEnum):
    """Detectors that can be trained."""

    PADIM = "padim"


@app.command()
def train(
    data: Annotated[
        Path,
        typer.Argument(help="A folder of good pictures, or one in MVTec AD's layout (`train/good`, `test/KIND`)."),
    ],
    product: Annotated[str, typer.Option(help="What the pictures show; frames of this product get this detector.")],
    method: Annotated[Method, typer.Option(help="How to learn.")] = Method.PADIM,
    backbone: Annotated[
        str, typer.Option(help="Image features: `lite0` comes with Sightline, other names are timm's.")
    ] = "lite0",
    input_size: Annotated[
        int, typer.Option(help="Side in pixels that frames are scaled to, a multiple of 16; larger sees finer.")
    ] = 256,
    false_alarm_rate: Annotated[
        float, typer.Option(help="Share of good frames that may be called defect; sets the threshold.")
    ] = 0.005,
    review_rate: Annotated[
        float, typer.Option(help="Share of good frames that may be put up for review or called defect.")
    ] = 0.025,
    threads: Annotated[int, typer.Option(min=1, help="CPU threads to train with.")] = 2,
    promote: Annotated[
        bool, typer.Option(help="Make it the champion, which a running stream picks up by itself.")
    ] = True,
    output: Annotated[Path | None, typer.Option(help="Keep the bundle in this folder as well.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the card as JSON.")] = False,
) -> None:
    """Train a detector on pictures of good parts and register it.

    No defect is needed: the threshold is calibrated on good frames that the model has not seen. Where the folder has
    labelled `test` pictures, accuracy is measured on them.

    Example: `sightline train parts/bottle_cap --product bottle_cap`
    """
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    from sightline.settings import RegistrySettings

    settings = RegistrySettings.load()
    console = Console(stderr=True)
    columns = (TextColumn("{task.description:<12}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=console) as bars:
        loading = bars.add_task("loading", total=1)
        # threads that spin while they wait take the cores from whatever else runs here, each other included; read once,
        # when torch is imported
        os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
        from models.calibrate import Rates
        from models.padim import PadimSettings
        from models.train import train as run

        bars.update(loading, completed=1)
        steps = {"loading": loading}

        def show(step: str, done: int, total: int) -> None:
            if step not in steps:
                steps[step] = bars.add_task(step, total=total)
            bars.update(steps[step], completed=done, total=total)

        trained = run(
            data,
            product,
            settings,
            settings=PadimSettings(backbone=backbone, input_size=input_size),
            rates=Rates(false_alarm=false_alarm_rate, review=review_rate),
            threads=threads,
            alias="champion" if promote else None,
            output=output,
            progress=show,
        )
    card = trained.card
    if as_json:
        import msgspec

        typer.echo(msgspec.json.encode(card).decode())
        return
    version = trained.registered.version if trained.registered else "-"
    typer.echo(
        f"{card.name} version {version}{' is the champion' if promote else ''}: {method.value}, "
        f"threshold {card.threshold:.3f}, review from {card.review_threshold:.3f}, "
        f"calibrated on {card.calibration['held_out_frames']} good frames"
    )
    if card.metrics:
        typer.echo("on the labelled test pictures: " + _metrics(card.metrics))


@app.command()
def detectors(
    as_json: Annotated[bool, typer.Option("--json", help="One JSON array, for machines.")] = False,
) -> None:
    """List the registered detectors: versions, aliases, thresholds, accuracy.

    The version with the alias `champion` judges the frames of its product.
    """
    from rich.console import Console
    from rich.table import Table

    from models.registry import entries
    from sightline.settings import RegistrySettings

    settings = RegistrySettings.load()
    found = entries(settings)
    if as_json:
        rows = [
            {
                "product": entry.detector.product,
                "name": entry.detector.name,
                "version": entry.detector.version,
                "digest": entry.detector.digest,
                "aliases": entry.aliases,
                "created_at": entry.created_at.isoformat(),
                "metrics": dict(entry.metrics),
            }
            for entry in found
        ]
        typer.echo(json.dumps(rows))
        return
    if not found:
        typer.echo("no detector is registered yet: train one with `sightline train DATA --product NAME`")
        return
    table = Table("product", "version", "alias", "threshold", "accuracy", "trained", "digest")
    for entry in found:
        table.add_row(
            entry.detector.product,
            entry.detector.version,
            ", ".join(entry.aliases),
            f"{entry.metrics['threshold']:.3f}" if "threshold" in entry.metrics else "",
            _metrics(entry.metrics),
            f"{entry.created_at:%Y-%m-%d %H:%M} UTC",
            entry.detector.digest[:12],
        )
    Console().print(table)


@app.command()
def promote(
    product: Annotated[str, typer.Argument(help="The product whose champion changes.")],
    version: Annotated[str, typer.Argument(help="The version that becomes champion, as `sightline detectors` lists.")],
) -> None:
    """Make a registered version the champion of its product.

    A running stream picks it up within seconds, without a restart; promoting an older version is the way back.

    Example: `sightline promote bottle_cap 2`
    """
    from models.registry import set_champion
    from sightline.settings import RegistrySettings

    champion = set_champion(product, version, RegistrySettings.load())
    typer.echo(f"{champion.name} version {champion.version} is the champion of {champion.product}")


def _metrics(metrics: Mapping[str, float]) -> str:
    """The metrics that people compare, in one line."""
    shown = {"image_auroc": "AUROC", "pixel_auroc": "pixel AUROC", "f1": "F1", "false_alarm_rate": "false alarms"}
    return ", ".join(f"{title} {metrics[name]:.3f}" for name, title in shown.items() if name in metrics)
