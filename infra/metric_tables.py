"""The tables of metrics in docs/observability.md."""

from __future__ import annotations

from collections.abc import Iterator

from sightline.metrics import Definition, all_definitions


def markdown() -> str:
    """A table for each room, made from the definitions that the processes measure by."""
    return "\n\n".join("\n".join(_table(room, found)) for room, found in all_definitions().items())


def _table(room: str, definitions: tuple[Definition, ...]) -> Iterator[str]:
    yield f"### {room if ' ' in room else f'`{room}`'}"
    yield ""
    yield "| metric | kind | labels | |"
    yield "| --- | --- | --- | --- |"
    for one in definitions:
        yield f"| `{one.name}` | {one.kind} | {', '.join(one.labels)} | {one.meaning} |"
