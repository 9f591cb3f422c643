"""`sightline notify`, `sightline notify test`, `sightline notify status`."""

from __future__ import annotations

from typing import Annotated

import typer

app = typer.Typer()
notify = typer.Typer()
app.add_typer(notify, name="notify")


@notify.callback(invoke_without_command=True)
def run(context: typer.Context) -> None:
    """Send alerts on to the receivers of `[notify.*]` in sightline.toml, until stopped.

    What a receiver does not take waits in an outbox on disk, so that nothing is lost and nobody else is held up.
    docs/alerts-out.md has an example of each kind: webhook, MQTT, mail, reject signal.
    """
    if context.invoked_subcommand is None:
        from console.notify.job import main

        main()


@notify.command()
def test(sink: Annotated[str, typer.Argument(help="Name of the receiver, as in `[notify.KIND.NAME]`.")]) -> None:
    """Send one made-up alert, or one reject signal, to a receiver.

    Its line, camera and product are `sightline-test`; filters and mutes do not count. Says how long it took, or why it
    failed.
    """
    from console.notify.settings import NotifySettings
    from console.notify.trial import run

    typer.echo(f"{sink} took it in {run(NotifySettings.load(), sink) * 1000:.0f} ms")


@notify.command()
def status(json: Annotated[bool, typer.Option("--json", help="One JSON object a receiver.")] = False) -> None:
    """Show what waits for each receiver, what was sent and lost, and its last error."""
    from console.notify.settings import NotifySettings
    from console.notify.status import run

    run(NotifySettings.load(), json=json)
