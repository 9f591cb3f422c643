"""Commands on registered detectors: list, compare, promote, roll back."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from models.gate import Policy
    from models.registry import RegisteredDetector
    from sightline.settings import RegistrySettings

app = typer.Typer(no_args_is_help=True, rich_markup_mode="markdown")


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
            in_one_line(entry.metrics),
            f"{entry.created_at:%Y-%m-%d %H:%M} UTC",
            entry.detector.digest[:12],
        )
    Console().print(table)


@app.command()
def compare(
    product: Annotated[str, typer.Argument(help="The product whose detectors are compared.")],
    chart: Annotated[Path | None, typer.Option(help="Draw the metrics of all versions into this PNG.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON array, for machines.")] = False,
) -> None:
    """Compare the versions of a product's detector: how each learnt, how right and how fast it is.

    Accuracy is that of training, and of the last `sightline evaluate` where there was one; speed comes from the latter.

    Example: `sightline compare bottle_cap --chart caps.png`
    """
    from rich.console import Console
    from rich.table import Table

    from models.comparing import compared, draw
    from sightline.settings import RegistrySettings

    rows = compared(product, RegistrySettings.load())
    if as_json:
        typer.echo(json.dumps([row.as_dict() for row in rows]))
    else:
        names = list(dict.fromkeys(name for row in rows for name in row.numbers))
        table = Table("version", "alias", "method", *names)
        for row in rows:
            shown = (f"{row.numbers[name]:.4g}" if name in row.numbers else "–" for name in names)
            table.add_row(row.version, ", ".join(row.aliases), row.method, *shown)
        Console().print(table)
    if chart:
        chart.write_bytes(draw(product, rows))


@app.command()
def promote(
    product: Annotated[str, typer.Argument(help="The product whose champion changes.")],
    version: Annotated[str, typer.Argument(help="The version that becomes champion, as `sightline detectors` lists.")],
    data: Annotated[
        Path | None,
        typer.Option(help="Labelled pictures (`test/KIND`): refuse a version that is worse, slower or not in parity."),
    ] = None,
    region: Annotated[str | None, typer.Option(metavar="X,Y,W,H", help="The camera's region, with --data.")] = None,
    mask: Annotated[Path | None, typer.Option(help="The camera's mask, a PNG, with --data.")] = None,
    tolerance: Annotated[float, typer.Option(min=0, help="What a metric may fall behind the champion's.")] = 0.005,
    slower: Annotated[float, typer.Option(min=0, max=1, help="Share of the champion's speed that may be lost.")] = 0.25,
) -> None:
    """Make a registered version the champion of its product.

    With `--data` both are judged on the same pictures first, and a version that fails is refused with every reason;
    exit code 1. A running stream picks a new champion up within seconds, without a restart.

    Example: `sightline promote bottle_cap 2 --data parts/bottle_cap`
    """
    from models.registry import set_champion
    from sightline.settings import RegistrySettings

    settings = RegistrySettings.load()
    if data is not None:
        from models.gate import Policy

        _pass_gate(product, version, data, (region, mask), Policy(tolerance=tolerance, slower=slower), settings)
    _announce(set_champion(product, version, settings))


@app.command()
def rollback(product: Annotated[str, typer.Argument(help="The product whose last promotion is taken back.")]) -> None:
    """Make the champion before this one champion again.

    Example: `sightline rollback bottle_cap`
    """
    from models.registry import roll_back
    from sightline.settings import RegistrySettings

    _announce(roll_back(product, RegistrySettings.load()))


def in_one_line(metrics: Mapping[str, float]) -> str:
    """The metrics that people compare, in one line."""
    shown = {"image_auroc": "AUROC", "pixel_auroc": "pixel AUROC", "f1": "F1", "false_alarm_rate": "false alarms"}
    return ", ".join(f"{title} {metrics[name]:.3f}" for name, title in shown.items() if name in metrics)


def _announce(champion: RegisteredDetector) -> None:
    typer.echo(f"{champion.name} version {champion.version} is the champion of {champion.product}")


def _pass_gate(
    product: str,
    version: str,
    data: Path,
    looked_at: tuple[str | None, Path | None],
    policy: Policy,
    settings: RegistrySettings,
) -> None:
    """Judge the version and the champion on `data`; exits with code 1 and all reasons when it may not be promoted."""
    import tempfile

    from models.gate import objections
    from models.judging.judge import judge
    from models.judging.tracking import find
    from models.registry import champions, fetch
    from models.runtime.view import view_of

    view = view_of(*looked_at)
    with tempfile.TemporaryDirectory(prefix="sightline-gate-") as folder:
        bundle = fetch(find(f"{product}@{version}", settings), Path(folder) / "challenger", settings)
        challenger = judge(bundle, data, view=view)
        current = champions(settings).get(product)
        champion = judge(fetch(current, Path(folder) / "champion", settings), data, view=view) if current else None
        found = objections(challenger, champion, policy)
    if found:
        typer.echo(f"{product} version {version} is refused:", err=True)
        for reason in found:
            typer.echo(f"  - {reason}", err=True)
        raise typer.Exit(1)
    typer.echo(f"{product} version {version} passes: " + in_one_line(challenger.metrics))
