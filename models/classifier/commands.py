"""Commands around classifiers of known defects: `sightline classifier train`, `evaluate`, `classify`."""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from models.progress import bars

if TYPE_CHECKING:
    from models.classifier.metrics import Quality

app = typer.Typer(no_args_is_help=True, rich_markup_mode="markdown")
classifiers = typer.Typer(no_args_is_help=True, rich_markup_mode="markdown")
app.add_typer(classifiers, name="classifier", help="Classifiers of known defects, learnt from labelled pictures.")

_PARTS = "Regular expression on a picture's path; pictures whose first group is the same show one part."
_WITHOUT = "A label that is left out; repeat."


@classifiers.command()
def train(
    data: Annotated[
        Path,
        typer.Argument(help="A set that `sightline ingest` made, MVTec AD's layout, or one folder for each label."),
    ],
    product: Annotated[str, typer.Option(help="What the pictures show.")],
    backbone: Annotated[
        str, typer.Option(help="`lite0`, a model of timm or of Hugging Face, or NAME@FILE.safetensors.")
    ] = "lite0",
    input_size: Annotated[int, typer.Option(help="Side in pixels that pictures are scaled to.")] = 256,
    epochs: Annotated[int, typer.Option(min=0, help="Epochs of fine-tuning at most; 0 trains a linear layer.")] = 6,
    learning_rate: Annotated[float, typer.Option(help="Of the first epoch; it falls along a cosine.")] = 1e-4,
    error_rate: Annotated[
        float, typer.Option(help="Share of answers that may be wrong on validation pictures; others are `unknown`.")
    ] = 0.05,
    min_confidence: Annotated[
        float | None, typer.Option(help="Answer `unknown` below this probability, whatever the error rate.")
    ] = None,
    part_pattern: Annotated[str | None, typer.Option(help=_PARTS)] = None,
    without: Annotated[list[str] | None, typer.Option(metavar="LABEL", help=_WITHOUT)] = None,
    seed: Annotated[int, typer.Option(help="Of the splits, the variants and the order of pictures.")] = 0,
    threads: Annotated[int, typer.Option(min=1, help="CPU threads.")] = 2,
    promote: Annotated[bool, typer.Option(help="Give it the alias champion; otherwise challenger.")] = True,
    register: Annotated[bool, typer.Option(help="Log to MLflow and register.")] = True,
    output: Annotated[Path | None, typer.Option(help="Keep bundle and plots in this folder as well.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the card as JSON.")] = False,
) -> None:
    """Train a classifier of known defects on labelled pictures, measure it on parts it has not seen, register it.

    A linear layer is fitted to frozen features; then the last stages of the backbone are fine-tuned, and kept if that
    helped on validation pictures.

    Example: `sightline classifier train sets/cap --product cap`
    """
    from sightline.settings import RegistrySettings

    settings = RegistrySettings.load()
    with bars() as show:
        show("loading", 0, 1)
        os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
        from models.classifier.learning import Tuning
        from models.classifier.train import Course
        from models.classifier.train import train as run

        show("loading", 1, 1)
        trained = run(
            data,
            product,
            settings,
            course=Course(
                backbone=backbone,
                input_size=input_size,
                tuning=Tuning(epochs=epochs, learning_rate=learning_rate, seed=seed),
                error_rate=error_rate,
                min_confidence=min_confidence,
            ),
            part_pattern=part_pattern,
            without=without or (),
            threads=threads,
            register=register,
            alias="champion" if promote else "challenger",
            output=output,
            progress=show,
        )
    card, history = trained.card, trained.history
    if as_json:
        import msgspec

        typer.echo(msgspec.json.encode(card).decode())
        return
    for split, counts in card.counts.items():
        typer.echo(f"{split:<11}" + ", ".join(f"{count} {label}" for label, count in counts.items()))
    for epoch, (learnt, chosen) in enumerate(zip(history.learnt, history.chosen_by, strict=True)):
        kept = "  kept" if epoch == history.kept else ""
        typer.echo(f"epoch {epoch}  loss {learnt:.3f}, validation {chosen:.3f}{kept}")
    _show(trained.quality, card.classes, card.min_confidence)
    if trained.registered:
        alias = "champion" if promote else "challenger"
        typer.echo(f"{trained.registered.name} version {trained.registered.version} is the {alias}")


@classifiers.command()
def evaluate(
    target: Annotated[
        str, typer.Argument(metavar="BUNDLE_OR_PRODUCT", help="A bundle's folder, or `cap`, `cap@3`, `cap@ALIAS`.")
    ],
    data: Annotated[Path, typer.Argument(help="Labelled pictures, as for training.")],
    plots: Annotated[Path | None, typer.Option(help="Write the plots into this folder, as PNG.")] = None,
    part_pattern: Annotated[str | None, typer.Option(help=_PARTS)] = None,
    without: Annotated[list[str] | None, typer.Option(metavar="LABEL", help=_WITHOUT)] = None,
    threads: Annotated[int, typer.Option(min=1, help="CPU threads.")] = 1,
    as_json: Annotated[bool, typer.Option("--json", help="Print the metrics as JSON.")] = False,
) -> None:
    """Measure a classifier on labelled pictures; those that it has learnt from are left out.

    Example: `sightline classifier evaluate cap sets/more_caps`
    """
    from sightline.settings import RegistrySettings

    settings = RegistrySettings.load()
    with tempfile.TemporaryDirectory(prefix="sightline-classifier-") as temporary, bars() as show:
        show("loading", 0, 1)
        from models.classifier.card import load_card
        from models.classifier.tracking import fetch
        from models.classifier.train import evaluate as run

        bundle = fetch(target, Path(temporary) / "bundle", settings)
        card = load_card(bundle)
        show("loading", 1, 1)
        quality, measured, left_out = run(
            bundle,
            data,
            part_pattern=part_pattern,
            without=without or (),
            threads=threads,
            plots_folder=plots,
            progress=show,
        )
    if as_json:
        counts = {"pictures": measured, "left_out": left_out}
        typer.echo(json.dumps(counts | quality.numbers | {"confusion": quality.confusion.tolist()}))
        return
    typer.echo(f"{measured} pictures, {left_out} left out because they were learnt from")
    _show(quality, card.classes, card.min_confidence)


@classifiers.command()
def classify(
    target: Annotated[
        str, typer.Argument(metavar="BUNDLE_OR_PRODUCT", help="A bundle's folder, or `cap`, `cap@3`, `cap@ALIAS`.")
    ],
    pictures: Annotated[list[Path], typer.Argument(help="Files of pictures.")],
) -> None:
    """Say which known defect each picture shows: one line of JSON for each, with all probabilities.

    Example: `sightline classifier classify cap photo.jpg`
    """
    from models.classifier.scorer import load_classifier
    from models.classifier.tracking import fetch
    from models.dataset import load_images
    from sightline.settings import RegistrySettings

    with tempfile.TemporaryDirectory(prefix="sightline-classifier-") as temporary:
        scorer = load_classifier(fetch(target, Path(temporary) / "bundle", RegistrySettings.load()))
    card = scorer.card
    for path in pictures:
        labels, probabilities = scorer.classify(load_images([path], card.input_height, card.input_width))
        shares = {name: round(float(share), 4) for name, share in zip(card.classes, probabilities[0], strict=True)}
        typer.echo(json.dumps({"picture": str(path), "label": labels[0], "probabilities": shares}))


def _show(quality: Quality, classes: tuple[str, ...], min_confidence: float) -> None:
    typer.echo("on pictures that it had not seen: " + _line(quality.numbers))
    typer.echo(f"unknown below a probability of {min_confidence:.2f}")
    width = max(len(name) for name in (*classes, "labelled"))
    typer.echo(f"{'labelled':<{width}}  called " + ", ".join((*classes, "unknown")))
    for name, row in zip(classes, quality.confusion, strict=True):
        typer.echo(f"{name:<{width}}  " + ", ".join(str(count) for count in row))


def _line(numbers: Mapping[str, float]) -> str:
    return ", ".join(f"{name.replace('_', ' ')} {value:.3f}" for name, value in numbers.items())
