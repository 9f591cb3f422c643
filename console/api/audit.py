"""The audit trail: who did what, when and from where, one JSON object a line, only ever appended."""

from __future__ import annotations

import os
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

import msgspec

from console.api.store import now
from sightline.errors import PrerequisiteError

FILE = "audit.jsonl"

_TAIL_BYTES = 4 * 1024 * 1024


class AuditEntry(msgspec.Struct, frozen=True, kw_only=True):
    """One thing that was done, or tried: `ok` tells which."""

    at: datetime
    event: str
    actor: str
    ok: bool = True
    remote: str | None = None
    details: dict[str, Any] = {}


class AuditTrail:
    """Delivery: an entry is on disk before `note` returns, whole, in the order of the calls of all processes."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / FILE

    def note(
        self, event: str, actor: str, *, ok: bool = True, remote: str | None = None, **details: str | float | None
    ) -> None:
        """Append one entry; raises PrerequisiteError where it cannot be written, since nothing may go unrecorded."""
        entry = AuditEntry(at=now(), event=event, actor=actor, ok=ok, remote=remote, details=_known(details))
        try:
            self.path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            handle = os.open(self.path, os.O_CREAT | os.O_WRONLY | os.O_APPEND, 0o600)
            try:
                os.write(handle, msgspec.json.encode(entry) + b"\n")
                os.fsync(handle)
            finally:
                os.close(handle)
        except OSError as error:
            raise PrerequisiteError(
                f"the audit trail {self.path} cannot be written: {error.strerror or error}"
            ) from error

    def last(self, count: int) -> list[AuditEntry]:
        """The newest first, out of the last 4 MiB."""
        try:
            with self.path.open("rb") as file:
                size = file.seek(0, os.SEEK_END)
                start = max(0, size - _TAIL_BYTES)
                file.seek(start)
                lines = file.read().splitlines()[1 if start else 0 :]
        except FileNotFoundError:
            return []
        found = []
        for line in reversed(lines):
            try:
                found.append(msgspec.json.decode(line, type=AuditEntry))
            except msgspec.DecodeError:
                continue  # the disk was full in the middle of a line
            if len(found) == count:
                break
        return found


def _known(details: Mapping[str, str | float | None]) -> dict[str, Any]:
    return {key: value for key, value in details.items() if value is not None}
