"""The command `sightline retrain`: close the loop from operators' answers to the next detector."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from sightline.retraining import ReportKind

if TYPE_CHECKING:
    from models.retrain import Outcome

REFUSED = 3
"""Exit code when the gate refused the challenger."""

app = typer.Typer()

_KINDS = {
    ReportKind.FALSE_ALARM.value: "false alarms",
    ReportKind.MISS.value: "misses",
    ReportKind.CONFIRMED.value: "confirmed defects",
}


@app.command()
def retrain(
    product: Annotated[str, typer.Argument(help="The product whose champion is to be followed.")],
    policy: Annotated[
        str, typer.Option(metavar="propose|promote", help="What becomes of a challenger that passes the gate.")
    ] = "propose",
    method: Annotated[
        str | None, typer.Option(help="Another way to learn than the champion's; `sightline methods` lists all.")
    ] = None,
    if_drifted: Annotated[
        bool, typer.Option("--if-drifted", help="Only where `sightline drift` found any since the champion judges.")
    ] = False,
    force: Annotated[bool, typer.Option("--force", help="Train although nothing is new.")] = False,
    limit: Annotated[int, typer.Option(min=10, help="Most good frames that nobody spoke of.")] = 1000,
    gap_seconds: Annotated[
        float, typer.Option(help="Frames of one camera that are closer than this show one part.")
    ] = 1.0,
    frames_per_part: Annotated[
        int | None, typer.Option(min=1, help="So many sequence numbers are one part, whatever their times.")
    ] = None,
    tolerance: Annotated[float, typer.Option(min=0, help="What a metric may fall behind the champion's.")] = 0.005,
    slower: Annotated[float, typer.Option(min=0, max=1, help="Share of the champion's speed that may be lost.")] = 0.25,
    mask: Annotated[Path | None, typer.Option(help="The mask that the champion learnt under, if it did.")] = None,
    threads: Annotated[int, typer.Option(min=1, help="CPU threads to train with.")] = 2,
    as_json: Annotated[bool, typer.Option("--json", help="What was done and why, as one JSON object.")] = False,
    progress_lines: Annotated[
        bool, typer.Option("--progress-lines", help="Say on stderr how far each step is: `progress STEP DONE TOTAL`.")
    ] = False,
) -> None:
    """Train the next detector of a product from the line's own history, and compare it with the champion.

    Archived good frames and false alarms are learnt from, confirmed defects are judged on; all frames of one part are
    either learnt or held out. The challenger learns in the champion's manner. Both are judged on what was held out, and
    on the mistakes that people reported. One that passes the gate is registered as `challenger`, or promoted; one that
    does not is registered without an alias. What was done and why stands in its MLflow run.

    Exit code: 0 promoted, proposed, or no reason to train; 3 the gate refused the challenger; 1 it cannot be trained.

    Examples: `sightline retrain bottle_cap`, daily: `sightline drift && sightline retrain bottle_cap --if-drifted`

    Settings: `[tables]`, `[registry]`, `[spark]`.
    """
    import os

    # threads that spin while they wait take the cores from whatever else runs here; read once, when torch is imported
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    if policy not in ("propose", "promote"):
        raise typer.BadParameter(f"policy is {policy!r}, expected propose or promote")

    import msgspec

    from models.gate import Policy
    from models.retrain import Result, RetrainOptions, RetrainPolicy
    from models.retrain import retrain as run
    from sightline.settings import RegistrySettings

    options = RetrainOptions(
        policy=RetrainPolicy(policy),
        method=method,
        mask=mask,
        if_drifted=if_drifted,
        force=force,
        limit=limit,
        gap_seconds=gap_seconds,
        frames_per_part=frames_per_part,
        threads=threads,
        gate=Policy(tolerance=tolerance, slower=slower),
    )
    outcome = run(product, RegistrySettings.load(), options, _progress_line if progress_lines else None)
    if as_json:
        typer.echo(msgspec.json.encode(outcome).decode())
    else:
        _print(outcome)
    if outcome.result is Result.REFUSED:
        raise typer.Exit(REFUSED)


def _progress_line(step: str, done: int, total: int) -> None:
    typer.echo(f"progress {step.replace(' ', '-')} {done} {total}", err=True)


def _print(outcome: Outcome) -> None:
    from models.retrain import Result

    product, version = outcome.product, outcome.challenger
    if version is None:
        typer.echo(f"{product}: nothing was trained: {'; '.join(outcome.why)}")
        return
    typer.echo(
        f"{product}: {outcome.new_frames} new frames and {outcome.new_answers} newly answered ones since champion "
        f"{outcome.champion}; challenger {version} is a {outcome.method}"
    )
    for line in outcome.drifted:
        typer.echo(f"  drifted: {line}")
    _print_metrics(outcome)
    for title, tallies in (("held out", outcome.held_out), ("learnt from, no proof", outcome.learnt)):
        for kind, one in tallies.items():
            typer.echo(
                f"  {_KINDS[kind]}, {title}: of {one.frames} the champion gets {one.champion} right, the challenger "
                f"{one.challenger}"
            )
    if outcome.result is Result.PROMOTED:
        typer.echo(f"version {version} is the champion of {product}; `sightline rollback {product}` takes it back")
    elif outcome.result is Result.PROPOSED:
        typer.echo(f"version {version} is the challenger; promote it with `sightline promote {product} {version}`")
    else:
        typer.echo(f"version {version} is refused:")
    for reason in outcome.why:
        typer.echo(f"  - {reason}")


def _print_metrics(outcome: Outcome) -> None:
    from rich.console import Console
    from rich.table import Table

    names = list(dict.fromkeys(name.partition("/")[2] for name in outcome.metrics))
    table = Table("held-out pictures", "champion", "challenger")
    for name in names:
        values = (outcome.metrics.get(f"{who}/{name}") for who in ("champion", "challenger"))
        table.add_row(name, *("–" if value is None else f"{value:.4g}" for value in values))
    Console().print(table)
