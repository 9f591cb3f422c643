"""What waits for the receivers, on disk: one SQLite file that outlives the process."""

from __future__ import annotations

import logging
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, fields
from pathlib import Path

from console.notify.rules import is_wanted
from console.notify.settings import Rules
from sightline import codec
from sightline.contracts import Alert
from sightline.errors import PrerequisiteError

log = logging.getLogger(__name__)

FILE = "outbox.db"
REMEMBERED_DAYS = 31
"""How long an incident is remembered that nothing more is heard of: longer than its topic keeps it."""

_BUSY_SECONDS = 10.0
_PRUNE_SECONDS = 3600.0
_ERROR_LENGTH = 500


@dataclass(frozen=True, slots=True)
class SinkState:
    """How one receiver does: plain counters since the outbox was made, for `status` and for metrics.

    `sent` were taken by the receiver, `failed` are tries that will be repeated. Lost, and logged, are `refused` (in
    vain), `given_up` (too old), `dropped` (too many waiting) and `late` (reject signals whose part had gone by).
    `muted` were held back on purpose. Times are seconds since 1970, 0 for never.
    """

    sink: str
    sent: int = 0
    failed: int = 0
    refused: int = 0
    given_up: int = 0
    dropped: int = 0
    late: int = 0
    unanswered: int = 0
    muted: int = 0
    last_sent_at: float = 0.0
    last_error_at: float = 0.0
    last_error: str = ""
    waiting: int = 0
    oldest_at: float = 0.0
    """When the oldest one that waits was parked."""


_COUNTERS = tuple(field.name for field in fields(SinkState) if field.type == "int" and field.name != "waiting")
_SCHEMA = f"""
CREATE TABLE IF NOT EXISTS waiting (
    id INTEGER PRIMARY KEY AUTOINCREMENT, sink TEXT NOT NULL, alert_id TEXT NOT NULL, revision INTEGER NOT NULL,
    line TEXT NOT NULL, state TEXT NOT NULL, body BLOB NOT NULL, parked_at REAL NOT NULL,
    attempts INTEGER NOT NULL DEFAULT 0, due REAL NOT NULL DEFAULT 0, UNIQUE (sink, alert_id, revision)
) STRICT;
CREATE INDEX IF NOT EXISTS waiting_in_order ON waiting (sink, attempts, id);
CREATE TABLE IF NOT EXISTS known (alert_id TEXT PRIMARY KEY, revision INTEGER NOT NULL, at REAL NOT NULL) STRICT;
CREATE TABLE IF NOT EXISTS announced (
    sink TEXT NOT NULL, alert_id TEXT NOT NULL, PRIMARY KEY (sink, alert_id)
) STRICT, WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS told (
    sink TEXT NOT NULL, line TEXT NOT NULL, camera TEXT NOT NULL, place INTEGER NOT NULL, at REAL NOT NULL,
    PRIMARY KEY (sink, line, camera)
) STRICT, WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS resting (
    sink TEXT NOT NULL, line TEXT NOT NULL, until REAL NOT NULL, PRIMARY KEY (sink, line)
) STRICT;
CREATE TABLE IF NOT EXISTS sinks (
    sink TEXT PRIMARY KEY, {", ".join(f"{name} INTEGER NOT NULL DEFAULT 0" for name in _COUNTERS)},
    last_sent_at REAL NOT NULL DEFAULT 0, last_error_at REAL NOT NULL DEFAULT 0, last_error TEXT NOT NULL DEFAULT ''
) STRICT;
"""
_NEXT = """
SELECT w.* FROM waiting w
WHERE sink = :sink AND due <= :now
  AND NOT EXISTS (SELECT 1 FROM waiting e WHERE e.sink = w.sink AND e.alert_id = w.alert_id AND e.id < w.id)
  AND NOT EXISTS (SELECT 1 FROM resting r WHERE r.sink = w.sink AND r.line = w.line AND r.until > :now)
ORDER BY attempts, id LIMIT 1
"""
_TOLD = """
INSERT INTO told VALUES (?, ?, ?, ?, ?)
ON CONFLICT DO UPDATE SET place = max(place, excluded.place), at = excluded.at
"""
_OVERTAKEN = """
SELECT 1 FROM waiting w JOIN told t USING (sink, line)
WHERE w.sink = ? AND w.alert_id = ? AND w.revision = ? AND t.camera = ? AND t.place > w.id
"""


@dataclass(frozen=True, slots=True)
class Waiting:
    """One alert for one receiver; `attempts` failed before."""

    place: int
    alert: Alert
    parked_at: float
    attempts: int


class Outbox:
    """Parks alerts until their receivers have them; any thread may use it.

    Delivery: what `park` was given is on disk when it returns, once for each (alert_id, revision) however often it
    comes. It leaves by `done` or `lose` alone, so after a crash in between a receiver is told again, with the same id.
    One incident's revisions leave in order; a failed one lets other incidents pass, and is then `overtaken` where the
    receiver was told of a later one of its camera: what was parked later is later, whatever the camera's clock says.

    With `most` waiting for a receiver, room is made by dropping `updated` revisions before others, the oldest first;
    each is counted and logged.
    """

    def __init__(self, folder: Path, most: int, clock: Callable[[], float] = time.time) -> None:
        """Creates folder and file, for their owner alone; raises PrerequisiteError where that cannot be."""
        self._most = most
        self._clock = clock
        self._lock = threading.Lock()
        self._prune_due = 0.0
        try:
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            path = folder / FILE
            path.touch(mode=0o600)
            self._connection = sqlite3.connect(path, timeout=_BUSY_SECONDS, check_same_thread=False)
            self._connection.row_factory = sqlite3.Row
            self._connection.execute("PRAGMA journal_mode = WAL")
            # offsets are noted once a batch is parked: it must outlive a loss of power
            self._connection.execute("PRAGMA synchronous = FULL")
            self._connection.executescript(_SCHEMA)
        except (OSError, sqlite3.Error) as error:
            raise PrerequisiteError(
                f"the outbox in {str(folder)!r} cannot be used: {error}; [notify] folder names another place"
            ) from error

    def close(self) -> None:
        """Let go of the file."""
        with self._lock:
            self._connection.close()

    def park(self, alerts: Sequence[Alert], sinks: Mapping[str, Rules], is_muted: Callable[[Alert], bool]) -> None:
        """Note `alerts` for the receivers that want them, all or none; raises sqlite3.Error where the disk is full."""
        with self._transaction() as connection:
            now = self._clock()
            for alert in alerts:
                seen = connection.execute("SELECT revision FROM known WHERE alert_id = ?", (alert.alert_id,)).fetchone()
                if seen and seen["revision"] >= alert.revision:
                    continue
                connection.execute("REPLACE INTO known VALUES (?, ?, ?)", (alert.alert_id, alert.revision, now))
                for sink, rules in sinks.items():
                    self._offer(connection, sink, rules, alert, is_muted(alert), now)
            for sink in sinks:
                _count(connection, sink, "sent", 0)
                self._make_room(connection, sink)
            if now >= self._prune_due:
                self._prune_due = now + _PRUNE_SECONDS
                _prune(connection, now)

    def take(self, sink: str, most: int = 1) -> list[Waiting]:
        """What the receiver should be told next, without taking it out: one, or up to `most` of the same line."""
        with self._transaction() as connection:
            row = connection.execute(_NEXT, {"sink": sink, "now": self._clock()}).fetchone()
            rows = [row] if row else []
            if row and most > 1:
                rows = connection.execute(
                    "SELECT * FROM waiting WHERE sink = ? AND line = ? ORDER BY id LIMIT ?", (sink, row["line"], most)
                ).fetchall()
        return [Waiting(row["id"], codec.decode(Alert, row["body"]), row["parked_at"], row["attempts"]) for row in rows]

    def done(self, sink: str, told: Sequence[Waiting], rest_seconds: float = 0.0) -> None:
        """The receiver has these; further ones of the line wait for `rest_seconds`."""
        now = self._clock()
        with self._transaction() as connection:
            _remove(connection, told)
            _count(connection, sink, "sent", len(told))
            connection.execute("UPDATE sinks SET last_sent_at = ? WHERE sink = ?", (now, sink))
            connection.executemany(_TOLD, [(sink, one.alert.line, one.alert.camera, one.place, now) for one in told])
            if rest_seconds:
                line = told[0].alert.line
                connection.execute("REPLACE INTO resting VALUES (?, ?, ?)", (sink, line, now + rest_seconds))

    def overtaken(self, sink: str, alert: Alert) -> bool:
        """Whether `alert`, which waits, is older than one of the same camera that the receiver was told of."""
        with self._transaction() as connection:
            values = (sink, alert.alert_id, alert.revision, alert.camera)
            return connection.execute(_OVERTAKEN, values).fetchone() is not None

    def postpone(self, sink: str, tried: Sequence[Waiting], seconds: float, error: str) -> None:
        """A try failed; these are due again after `seconds`."""
        with self._transaction() as connection:
            connection.executemany(
                "UPDATE waiting SET attempts = attempts + 1, due = ? WHERE id = ?",
                [(self._clock() + seconds, one.place) for one in tried],
            )
            _count(connection, sink, "failed", 1)
            self._note_error(connection, sink, error)

    def lose(self, sink: str, lost: Sequence[Waiting], counter: str, error: str) -> None:
        """The receiver will not have these: `counter` of SinkState says why."""
        with self._transaction() as connection:
            _remove(connection, lost)
            _count(connection, sink, counter, len(lost))
            self._note_error(connection, sink, error)
        for one in lost:
            _log_loss(sink, one.alert.alert_id, one.alert.revision, f"{counter}: {error}")

    def count(self, sink: str, counter: str, error: str = "") -> None:
        """Count something that never was in the outbox."""
        with self._transaction() as connection:
            _count(connection, sink, counter, 1)
            if error:
                self._note_error(connection, sink, error)
            elif counter == "sent":
                connection.execute("UPDATE sinks SET last_sent_at = ? WHERE sink = ?", (self._clock(), sink))

    def states(self) -> list[SinkState]:
        """Every receiver that was ever counted, by name."""
        with self._transaction() as connection:
            return _states(connection)

    def _offer(
        self, connection: sqlite3.Connection, sink: str, rules: Rules, alert: Alert, muted: bool, now: float
    ) -> None:
        ids = (sink, alert.alert_id)
        found = connection.execute("SELECT 1 FROM announced WHERE sink = ? AND alert_id = ?", ids).fetchone()
        announced = found is not None
        if not is_wanted(rules, alert, muted=muted, announced=announced):
            if muted and is_wanted(rules, alert, muted=False, announced=announced):
                _count(connection, sink, "muted", 1)
            return
        connection.execute(
            "INSERT OR IGNORE INTO waiting (sink, alert_id, revision, line, state, body, parked_at) "
            "VALUES (?, ?, ?, ?, ?, ?, ?)",
            (*ids, alert.revision, alert.line, alert.state.value, codec.encode(alert), now),
        )
        connection.execute("INSERT OR IGNORE INTO announced VALUES (?, ?)", ids)

    def _make_room(self, connection: sqlite3.Connection, sink: str) -> None:
        waiting = connection.execute("SELECT count(*) FROM waiting WHERE sink = ?", (sink,)).fetchone()[0]
        if waiting <= self._most:
            return
        dropped = connection.execute(
            "DELETE FROM waiting WHERE id IN ("
            "SELECT id FROM waiting WHERE sink = ? ORDER BY state <> 'updated', id LIMIT ?) "
            "RETURNING alert_id, revision",
            (sink, waiting - self._most),
        ).fetchall()
        _count(connection, sink, "dropped", len(dropped))
        self._note_error(connection, sink, f"{self._most} alerts are waiting, no more are kept")
        for row in dropped:
            _log_loss(sink, row["alert_id"], row["revision"], "dropped: the outbox is full")

    def _note_error(self, connection: sqlite3.Connection, sink: str, error: str) -> None:
        connection.execute(
            "UPDATE sinks SET last_error = ?, last_error_at = ? WHERE sink = ?",
            (error[:_ERROR_LENGTH], self._clock(), sink),
        )

    @contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        with self._lock, self._connection as connection:
            yield connection


def read_states(folder: Path) -> list[SinkState]:
    """The states as another process left them or goes on writing them; none where there is no outbox.

    Raises PrerequisiteError when the file cannot be read.
    """
    path = folder / FILE
    if not path.is_file():
        return []
    try:
        connection = sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True, timeout=_BUSY_SECONDS)
        try:
            connection.row_factory = sqlite3.Row
            return _states(connection)
        finally:
            connection.close()
    except sqlite3.Error as error:
        raise PrerequisiteError(f"the outbox {str(path)!r} cannot be read: {error}") from error


def _states(connection: sqlite3.Connection) -> list[SinkState]:
    rows = connection.execute(
        "SELECT s.*, count(w.id) AS waiting, coalesce(min(w.parked_at), 0.0) AS oldest_at "
        "FROM sinks s LEFT JOIN waiting w USING (sink) GROUP BY sink ORDER BY sink"
    )
    return [SinkState(**dict(row)) for row in rows]


def as_json(state: SinkState) -> dict[str, str | int | float]:
    """Field to value."""
    return asdict(state)


def _count(connection: sqlite3.Connection, sink: str, counter: str, by: int) -> None:
    connection.execute("INSERT OR IGNORE INTO sinks (sink) VALUES (?)", (sink,))
    connection.execute(f"UPDATE sinks SET {counter} = {counter} + ? WHERE sink = ?", (by, sink))


def _remove(connection: sqlite3.Connection, rows: Sequence[Waiting]) -> None:
    connection.executemany("DELETE FROM waiting WHERE id = ?", [(row.place,) for row in rows])


def _prune(connection: sqlite3.Connection, now: float) -> None:
    connection.execute("DELETE FROM known WHERE at < ?", (now - REMEMBERED_DAYS * 86400,))
    connection.execute("DELETE FROM announced WHERE alert_id NOT IN (SELECT alert_id FROM known)")
    connection.execute("DELETE FROM told WHERE at < ?", (now - REMEMBERED_DAYS * 86400,))
    connection.execute("DELETE FROM resting WHERE until < ?", (now,))


def _log_loss(sink: str, alert_id: str, revision: int, why: str) -> None:
    log.error(
        "an alert is lost for a receiver", extra={"sink": sink, "alert": alert_id, "revision": revision, "why": why}
    )
