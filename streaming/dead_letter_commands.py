"""The commands `sightline dead-letters list`, `show` and `replay`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from sightline.contracts import Reason

if TYPE_CHECKING:
    from datetime import datetime

    from streaming.dead_letters import Found, Selection

group = typer.Typer(no_args_is_help=True, help="Records that could not be judged: look at them, send them again.")
app = typer.Typer()
app.add_typer(group, name="dead-letters")

Reasons = Annotated[list[Reason] | None, typer.Option("--reason", help="Only this reason; may be repeated.")]
Cameras = Annotated[list[str] | None, typer.Option("--camera", help="Only this camera; may be repeated.")]
Since = Annotated[
    str | None, typer.Option(metavar="TIME", help="Only records taken in since this date or RFC 3339 time (UTC).")
]
Until = Annotated[str | None, typer.Option(metavar="TIME", help="Only records taken in before this time.")]


@group.command("list")
def list_(
    reason: Reasons = None,
    camera: Cameras = None,
    since: Since = None,
    until: Until = None,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object a line.")] = False,
) -> None:
    """List the dead letters that the topic still holds.

    They stay a week (`[topics] dead_letter_hours`); the table `dead_letters` keeps them longer, under the same ids.

    Example: `sightline dead-letters list --reason no-detector --since 2026-11-21`
    """
    import msgspec

    from sightline.settings import KafkaSettings
    from streaming import dead_letters

    count = 0
    for found in dead_letters.find(KafkaSettings.load().for_role("engineer"), _selection(reason, camera, since, until)):
        count += 1
        typer.echo(msgspec.json.encode(_facts(found)).decode() if as_json else _line(found))
    if not as_json:
        typer.echo(f"{count} dead letter{'' if count == 1 else 's'}")


@group.command()
def show(
    letter: Annotated[str, typer.Argument(metavar="ID", help="The id, or as much of its beginning as is unique.")],
    save: Annotated[Path | None, typer.Option(help="Write the record's bytes, as they came, to this file.")] = None,
) -> None:
    """Show one dead letter: why, when, where from, and the headers that it came with.

    Example: `sightline dead-letters show 3fa9 --save frame.jpg`
    """
    from sightline.settings import KafkaSettings
    from streaming import dead_letters

    found = dead_letters.one(KafkaSettings.load().for_role("engineer"), letter)
    for name, value in _facts(found).items():
        typer.echo(f"{name:<12} {_printable(value)}")
    typer.echo(f"{'key':<12} {found.letter.key!r}")
    for name, data in found.letter.headers:
        typer.echo(f"{'header':<12} {_printable(name)}: {data[:200]!r}")
    if save:
        save.write_bytes(found.letter.value or b"")


@group.command()
def replay(
    reason: Reasons = None,
    camera: Cameras = None,
    since: Since = None,
    until: Until = None,
    letter: Annotated[
        list[str] | None, typer.Option("--id", help="Only the letter with this id, or beginning of one; repeatable.")
    ] = None,
    limit: Annotated[int | None, typer.Option(min=1, help="Send at most this many.")] = None,
    again: Annotated[
        bool, typer.Option("--again", help="Also those that were sent before, or failed as a replay.")
    ] = False,
    yes: Annotated[bool, typer.Option("--yes", help="Send; without it, only say what would be sent.")] = False,
) -> None:
    """Send dead letters back to `frames`, after what was wrong with them is put right.

    Bytes, key and headers are the original ones; two headers more say that it is a replay. Run it as often as you like:
    a letter is sent once. A replay that fails becomes a dead letter again, which only `--again` sends. Verdicts of
    replayed frames are in the tables; they come too late to open an alert.

    Example: `sightline dead-letters replay --reason no-detector --since 2026-11-21 --yes`
    """
    from dataclasses import replace

    from sightline.settings import KafkaSettings
    from streaming import dead_letters

    selection = replace(_selection(reason, camera, since, until), ids=tuple(letter or ()))
    report = dead_letters.replay(
        KafkaSettings.load().for_role("engineer"), selection, again=again, limit=limit, send=yes
    )
    total = report.sent.total()
    typer.echo(f"{total} sent" if yes else f"{total} would be sent; --yes sends them")
    for name, count in sorted(report.sent.items()):
        typer.echo(f"  {count} {name}")
    for why, count in sorted(report.left.items()):
        typer.echo(f"left out: {count} {why}")


def _selection(
    reasons: Sequence[Reason] | None, cameras: Sequence[str] | None, since: str | None, until: str | None
) -> Selection:
    from streaming.dead_letters import Selection

    return Selection(
        reasons=frozenset(reasons or ()),
        cameras=frozenset(cameras or ()),
        since=_time("--since", since),
        until=_time("--until", until),
    )


def _time(option: str, text: str | None) -> datetime | None:
    from datetime import UTC, datetime

    if text is None:
        return None
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise typer.BadParameter(f"{option} {text!r} is no date or RFC 3339 time, such as 2026-11-21T08:00") from None
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


def _facts(found: Found) -> dict[str, Any]:
    letter = found.letter
    source = letter.source
    return {
        "id": found.id,
        "reason": letter.reason.value,
        "message": letter.message,
        "camera": letter.camera,
        "sequence": letter.sequence,
        "ingested_at": letter.ingested_at,
        "stage": letter.stage,
        "source": f"{source.topic}/{source.partition}/{source.offset}",
        "bytes": len(letter.value or b""),
        "replays": found.replays,
        "sent": found.sent,
    }


def _line(found: Found) -> str:
    letter = found.letter
    state = "sent again" if found.sent else f"replay {found.replays} failed" if found.replays else ""
    place = f"{letter.camera or '?'} {'?' if letter.sequence is None else letter.sequence}"
    words = [found.id[:12], f"{letter.ingested_at:%Y-%m-%d %H:%M:%S}", f"{letter.reason:<15}", place, state]
    return _printable("  ".join(word for word in words if word) + f"  {letter.message[:120]}")


def _printable(value: object) -> str:
    """Text of a record's writer must not reach the terminal as commands."""
    return "".join(sign if sign.isprintable() else "\ufffd" for sign in str(value))
