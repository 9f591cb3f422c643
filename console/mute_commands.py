"""`sightline mute list|set|window|end`."""

from __future__ import annotations

import getpass
from datetime import datetime
from typing import TYPE_CHECKING, Annotated

import typer

from sightline.contracts import Severity

if TYPE_CHECKING:
    from sightline.contracts import ActionKind, Mute, OperatorAction

app = typer.Typer()
mute = typer.Typer(
    no_args_is_help=True,
    help="Hold alerts back from those outside, for a time; they are recorded, and shown as muted.",
)
app.add_typer(mute, name="mute")

Line = Annotated[str | None, typer.Option(help="Only this line.")]
Camera = Annotated[str | None, typer.Option(help="Only this camera.")]
Product = Annotated[str | None, typer.Option(help="Only this product.")]
Level = Annotated[Severity | None, typer.Option(help="Only this severity.")]
Why = Annotated[str | None, typer.Option(help="The reason, for those who wonder.")]
_FORMATS = ["%Y-%m-%dT%H:%M", "%Y-%m-%d %H:%M"]


@mute.command("list")
def list_() -> None:
    """List what has not ended, as this machine's time."""
    from rich.table import Table

    from console.mutes import read_book, utc_now
    from console.output import printable, terminal
    from sightline.settings import KafkaSettings

    table = Table("mute", "kind", "line", "camera", "product", "severity", "from", "until", "by", "why")
    for one in read_book(KafkaSettings.load().for_role("operator")).standing(utc_now()):
        scope = one.mute
        places = (scope.line, scope.camera, scope.product, scope.severity and scope.severity.value)
        times = (f"{time.astimezone():%m-%d %H:%M}" for time in (scope.starts_at, scope.ends_at))
        words = (one.mute_id[:8], one.kind.value, *(place or "all" for place in places), *times, one.actor)
        table.add_row(*map(printable, words), printable(one.comment or ""))
    terminal().print(table)


@mute.command("set")
def set_(
    minutes: Annotated[int, typer.Option("--minutes", min=1, help="How long, 480 at most.")],
    line: Line = None,
    camera: Camera = None,
    product: Product = None,
    severity: Level = None,
    why: Why = None,
) -> None:
    """Mute alerts from now on; it ends by itself.

    Example: `sightline mute set --camera cam-3 --minutes 30 --why "belt is being cleaned"`
    """
    from datetime import timedelta

    from console.mutes import utc_now
    from sightline.contracts import ActionKind, Mute

    now = utc_now()
    ends = now + timedelta(minutes=minutes)
    _set(
        Mute(starts_at=now, ends_at=ends, line=line, camera=camera, product=product, severity=severity),
        ActionKind.MUTE,
        why,
    )


@mute.command("window")
def window(
    until: Annotated[datetime, typer.Option(formats=_FORMATS, help="When it ends, in this machine's time zone.")],
    from_: Annotated[datetime | None, typer.Option("--from", formats=_FORMATS, help="When it begins.")] = None,
    line: Line = None,
    camera: Camera = None,
    product: Product = None,
    severity: Level = None,
    why: Why = None,
) -> None:
    """Set a maintenance window, which ends within 14 days; without --from it begins now.

    Example: `sightline mute window --line line-1 --from 2026-12-24T18:00 --until 2026-12-27T06:00`
    """
    from console.mutes import utc_now
    from sightline.contracts import ActionKind, Mute

    starts = from_.astimezone() if from_ else utc_now()
    _set(
        Mute(
            starts_at=starts, ends_at=until.astimezone(), line=line, camera=camera, product=product, severity=severity
        ),
        ActionKind.MAINTENANCE,
        why,
    )


@mute.command("end")
def end(mute_id: Annotated[str, typer.Argument(help="As `sightline mute list` shows it.")]) -> None:
    """End a mute or a maintenance window now."""
    from console.mutes import ending, read_book, utc_now
    from sightline.errors import AccessError
    from sightline.settings import KafkaSettings

    now = utc_now()
    standing = read_book(KafkaSettings.load().for_role("operator")).standing(now)
    found = [one for one in standing if mute_id and one.mute_id.startswith(mute_id)]
    if len(found) != 1:
        what = "no mute" if not found else f"{len(found)} mutes"
        raise AccessError(f"{what} that has not ended begins with {mute_id!r}; see `sightline mute list`")
    _send(ending(found[0], _me(), now))
    typer.echo(f"{found[0].mute_id[:8]} has ended")


def _set(scope: Mute, kind: ActionKind, why: str | None) -> None:
    from console.mutes import setting, utc_now

    action = setting(scope, kind, _me(), why, utc_now())
    _send(action)
    typer.echo(f"{action.alert_id[:8]} holds alerts back until {scope.ends_at.astimezone():%Y-%m-%d %H:%M}")


def _send(action: OperatorAction) -> None:
    from console.api.actions import KafkaActions
    from sightline.settings import KafkaSettings

    KafkaActions(KafkaSettings.load().for_role("operator")).send(action)


def _me() -> str:
    return f"cli:{getpass.getuser()}"
