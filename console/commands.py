"""The commands of this room under `sightline`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from sightline.contracts import Severity

app = typer.Typer()


@app.command()
def alerts(
    json: Annotated[bool, typer.Option("--json", help="One JSON object a line, thumbnails in base64.")] = False,
    from_beginning: Annotated[
        bool, typer.Option("--from-beginning", help="Start with everything that the topic still holds.")
    ] = False,
    open_: Annotated[bool, typer.Option("--open", help="Start with the incidents that are open now.")] = False,
    follow: Annotated[
        bool, typer.Option("--follow/--no-follow", help="Wait for more, or end once all that was there is shown.")
    ] = True,
    camera: Annotated[list[str] | None, typer.Option(help="Only this camera; may be given several times.")] = None,
    severity: Annotated[list[Severity] | None, typer.Option(help="Only this severity; may be repeated.")] = None,
    limit: Annotated[int | None, typer.Option(min=1, help="End after this many.")] = None,
    save_pictures: Annotated[
        Path | None,
        typer.Option(metavar="DIR", file_okay=False, help="Write each incident's picture, heat map drawn in, to DIR."),
    ] = None,
    bootstrap: Annotated[str | None, typer.Option(metavar="HOST:PORT", help="Another broker than configured.")] = None,
) -> None:
    """Follow the alerts as they happen.

    One line is one change of an incident: opened, updated while it grows, closed. Only what is committed is shown,
    each revision once. Times are of this machine's zone; `--json` gives UTC.

    **Examples**

    `sightline alerts --open --save-pictures pictures`

    `sightline alerts --from-beginning --no-follow --json | jq .camera`
    """
    from console.follow import follow_alerts
    from sightline.settings import KafkaSettings
    from sightline.subscriber import AlertSubscriber

    if from_beginning and open_:
        raise typer.BadParameter("choose --from-beginning or --open")
    follow_alerts(
        lambda: AlertSubscriber(
            KafkaSettings.load(bootstrap=bootstrap),
            start="earliest" if from_beginning else "open" if open_ else "now",
            cameras=camera or (),
            severities=severity or (),
            connect_seconds=5.0,
        ),
        json=json,
        follow=follow,
        limit=limit,
        pictures=save_pictures,
    )
