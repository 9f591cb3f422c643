"""The commands of this room under `sightline`: train a detector, and those of the modules that it joins."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import replace
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from models import data_commands, quantise_commands, registry_commands, retrain_commands
from models.classifier import commands as classifier
from models.judging import commands as judging
from models.progress import bars
from models.registry_commands import in_one_line

if TYPE_CHECKING:
    from models.calibrate import Rates
    from models.train import Trained

app = typer.Typer(no_args_is_help=True, rich_markup_mode="markdown")
app.add_typer(classifier.app)
app.add_typer(data_commands.app)
app.add_typer(judging.app)
app.add_typer(quantise_commands.app)
app.add_typer(registry_commands.app)
app.add_typer(retrain_commands.app)


class Align(StrEnum):
    """Whether parts are aligned."""

    AUTO = "auto"
    ON = "on"
    OFF = "off"


class Variants(StrEnum):
    """What is learnt beside each good picture."""

    AUTO = "auto"
    NONE = "none"
    MILD = "mild"
    SYMMETRIC = "symmetric"


@app.command()
def train(
    data: Annotated[
        Path,
        typer.Argument(help="A folder of good pictures, or one in MVTec AD's layout (`train/good`, `test/KIND`)."),
    ],
    product: Annotated[str, typer.Option(help="What the pictures show; frames of this product get this detector.")],
    method: Annotated[
        str | None, typer.Option(help="How to learn; `sightline methods` lists all. Without it the one for most parts.")
    ] = None,
    backbone: Annotated[
        str | None, typer.Option(help="Image features: `lite0` comes with Sightline, other names are timm's.")
    ] = None,
    input_size: Annotated[
        int | None, typer.Option(help="Side in pixels that frames are scaled to, a multiple of 16; larger sees finer.")
    ] = None,
    tiles: Annotated[
        int, typer.Option(help="Cut pictures into this many tiles a side, each of the input size: finds small defects.")
    ] = 1,
    options: Annotated[
        list[str] | None, typer.Option("--set", metavar="NAME=NUMBER", help="One of the method's own options; repeat.")
    ] = None,
    align: Annotated[
        Align,
        typer.Option(
            help="Cut each picture to its part first: for parts that come at any place and size. `auto` does so where "
            "it clearly brings the outlines of good parts together."
        ),
    ] = Align.AUTO,
    variants: Annotated[
        Variants,
        typer.Option(
            help="Which variants of a good picture are good as well: `mild` are a little moved and lit, `symmetric` "
            "turned by quarters and mirrored. `auto` tries them."
        ),
    ] = Variants.AUTO,
    region: Annotated[
        str | None, typer.Option(metavar="X,Y,W,H", help="Look at this part of each picture only, in its pixels.")
    ] = None,
    mask: Annotated[
        Path | None, typer.Option(help="A PNG of the pictures' size; what is black there is ignored.")
    ] = None,
    mixed_sizes: Annotated[bool, typer.Option(help="Take pictures of several sizes.")] = False,
    false_alarm_rate: Annotated[
        float | None,
        typer.Option(
            help="Share of good frames that may be called defect; sets the threshold. Without it 0.005, or 1 in n + 1 "
            "where n good frames cannot tell so rare an event."
        ),
    ] = None,
    review_rate: Annotated[
        float | None,
        typer.Option(
            help="Share of good frames that may be put up for review or called defect. Without it 0.025, or 3 in n + 1."
        ),
    ] = None,
    latency_budget: Annotated[
        float,
        typer.Option(
            min=1,
            metavar="MS",
            help="Milliseconds of a processor that one picture may take; a stream refuses a detector that takes more.",
        ),
    ] = 100.0,
    threads: Annotated[int, typer.Option(min=1, help="CPU threads to train with.")] = 2,
    promote: Annotated[
        bool,
        typer.Option(help="Make it the champion, which a running stream picks up; otherwise it is the challenger."),
    ] = True,
    output: Annotated[Path | None, typer.Option(help="Keep the bundle in this folder as well.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the card as JSON.")] = False,
) -> None:
    """Train a detector on pictures of good parts and register it.

    No defect is needed: the threshold is calibrated on good frames that the model has not seen. Where the folder has
    labelled `test` pictures, accuracy is measured on them.

    Examples:

    * `sightline train parts/bottle_cap --product bottle_cap`

    * `sightline train parts/bottle_cap --product bottle_cap --method patchcore --set bank=5000 --no-promote`
    """
    from sightline.settings import RegistrySettings

    settings = RegistrySettings.load()
    chosen = _numbers(options or [])
    with bars() as show:
        show("loading", 0, 1)
        # threads that spin while they wait take the cores from whatever else runs here, each other included; read once,
        # when torch is imported
        os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
        from models.fitting import DEFAULT_METHOD, Recipe
        from models.methods import choose
        from models.preparation import Variation
        from models.runtime.view import view_of
        from models.train import train as run

        show("loading", 1, 1)
        name = method or DEFAULT_METHOD
        usual = choose(name).features
        recipe = Recipe(
            method=name,
            features=replace(
                usual, backbone=backbone or usual.backbone, input_size=input_size or usual.input_size, tiles=tiles
            ),
            options=chosen,
            alignment=align.value,
            variation=None if variants is Variants.AUTO else Variation(variants.value),
            view=view_of(region, mask),
            rates=_rates(false_alarm_rate, review_rate),
            latency_budget_ms=latency_budget,
        )
        trained = run(
            data,
            product,
            settings,
            recipe=recipe,
            threads=threads,
            alias="champion" if promote else "challenger",
            output=output,
            mixed_sizes=mixed_sizes,
            progress=show,
        )
    if as_json:
        import msgspec

        typer.echo(msgspec.json.encode(trained.card).decode())
        return
    _show(trained, "champion" if promote else "challenger")


def _show(trained: Trained, role: str) -> None:
    card = trained.card
    version = trained.registered.version if trained.registered else "-"
    typer.echo(
        f"{card.name} version {version} is the {role}: {card.method}, threshold {card.threshold:.3f}, "
        f"review from {card.review_threshold:.3f}, "
        f"calibrated on {card.calibration['held_out_frames']} good frames for "
        f"{float(card.calibration['false_alarm_rate']):.1%} false alarms"
    )
    if "synthetic_auroc" in card.metrics:
        typer.echo(f"synthetic defects on frames that it had not seen: AUROC {card.metrics['synthetic_auroc']:.3f}")
    if "image_auroc" in card.metrics:
        typer.echo("on the labelled test pictures: " + in_one_line(card.metrics))


def _rates(false_alarm: float | None, review: float | None) -> Rates | None:
    """What was asked for; of one alone the other follows, and of neither the number of frames decides."""
    from models.calibrate import Rates

    given = [rate for rate in (false_alarm, review) if rate is not None]
    if not given:
        return None
    usual = Rates()
    return Rates(
        false_alarm=min(usual.false_alarm, *given) if false_alarm is None else false_alarm,
        review=max(usual.review, *given) if review is None else review,
    )


@app.command()
def methods() -> None:
    """List the ways to learn: what each suits, and its own options for `sightline train --set`."""
    from rich.console import Console
    from rich.table import Table

    from models.fitting import DEFAULT_METHOD
    from models.methods import METHODS

    table = Table("method", "what it does", "says where", "options")
    for name, method in METHODS.items():
        options = ", ".join(f"{option}={default:g}" for option, default in method.options.items())
        shown = f"{name} (default)" if name == DEFAULT_METHOD else name
        table.add_row(shown, method.summary, "no" if method.whole else "yes", options)
    Console().print(table)


def _numbers(words: Sequence[str]) -> dict[str, float]:
    """`NAME=NUMBER` words as a mapping."""
    found = {}
    for word in words:
        name, equals, value = word.partition("=")
        try:
            found[name] = float(value)
        except ValueError:
            raise typer.BadParameter(f"{word!r} is not NAME=NUMBER, such as steps=300") from None
        if not (name and equals):
            raise typer.BadParameter(f"{word!r} is not NAME=NUMBER, such as steps=300")
    return found
