"""The file with users, keys, sessions and recent actions: SQLite, readable by its owner alone."""

from __future__ import annotations

import os
import secrets
import sqlite3
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

from sightline.errors import PrerequisiteError

FILE = "access.db"

_BUSY_SECONDS = 10.0
_SCHEMA = """
CREATE TABLE IF NOT EXISTS users (
    name TEXT PRIMARY KEY, role TEXT NOT NULL, password TEXT, source TEXT NOT NULL, disabled INTEGER NOT NULL,
    created_at TEXT NOT NULL
) STRICT;
CREATE TABLE IF NOT EXISTS keys (
    key_id TEXT PRIMARY KEY, name TEXT NOT NULL, role TEXT NOT NULL, hash TEXT NOT NULL, created_at TEXT NOT NULL,
    expires_at TEXT NOT NULL, revoked_at TEXT
) STRICT;
CREATE TABLE IF NOT EXISTS sessions (
    session_id TEXT PRIMARY KEY, user TEXT NOT NULL REFERENCES users (name) ON DELETE CASCADE, csrf TEXT NOT NULL,
    expires_at TEXT NOT NULL
) STRICT;
CREATE TABLE IF NOT EXISTS actions (
    action_id TEXT PRIMARY KEY, alert_id TEXT NOT NULL, asked TEXT NOT NULL, event BLOB NOT NULL, at TEXT NOT NULL,
    sent INTEGER NOT NULL
) STRICT;
CREATE INDEX IF NOT EXISTS actions_of_alert ON actions (alert_id);
CREATE TABLE IF NOT EXISTS secrets (name TEXT PRIMARY KEY, value TEXT NOT NULL) STRICT;
"""


class Store:
    """One file in `folder`; every `open` is one transaction, committed unless it fails."""

    def __init__(self, folder: Path) -> None:
        """Creates folder and file; raises PrerequisiteError where that cannot be or where others may read them."""
        self.path = folder / FILE
        try:
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            os.close(os.open(self.path, os.O_CREAT | os.O_RDWR, 0o600))
            mode = stat.S_IMODE(self.path.stat().st_mode)
        except OSError as error:
            raise PrerequisiteError(
                f"{self.path}: {error.strerror or error}; [api] folder names another place"
            ) from error
        if mode & 0o077:
            raise PrerequisiteError(
                f"{self.path} may be read by others (mode {mode:o}), and it holds password hashes; chmod 600 it"
            )
        with self.open() as connection:
            connection.execute("PRAGMA journal_mode = WAL")
            connection.executescript(_SCHEMA)

    @contextmanager
    def open(self) -> Iterator[sqlite3.Connection]:
        """A connection for one transaction, rows by name."""
        connection = sqlite3.connect(self.path, timeout=_BUSY_SECONDS)
        connection.row_factory = sqlite3.Row
        try:
            connection.execute("PRAGMA foreign_keys = ON")
            with connection:
                yield connection
        finally:
            connection.close()

    def secret(self, name: str) -> str:
        """A random secret of this deployment, made when it is first asked for."""
        with self.open() as connection:
            connection.execute("INSERT OR IGNORE INTO secrets VALUES (?, ?)", (name, secrets.token_urlsafe(48)))
            found = connection.execute("SELECT value FROM secrets WHERE name = ?", (name,)).fetchone()
            return str(found["value"])


def now() -> datetime:
    """The time, UTC."""
    return datetime.now(UTC)


def as_text(time: datetime) -> str:
    """`time` so that texts sort as times do."""
    return time.astimezone(UTC).isoformat(timespec="microseconds")
