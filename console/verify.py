"""The proof that every captured frame is inspected, a dead letter, or dropped and counted, from tables and topic."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from console.accounts import RANGES_SHOWN, Accounts, Problem, Unplaced
from console.bookkeeping import EMPTY_TABLES, FROM_FRAMES, keep_books, rows
from console.checks import cross_check
from console.tables import open_history, open_tables
from console.unsettled import FrameTopic, Record
from sightline.errors import BrokerError
from sightline.settings import KafkaSettings, TableSettings

if TYPE_CHECKING:
    import pyarrow as pa
    from duckdb import DuckDBPyConnection

_PAUSE_SECONDS = 1.0

_STORED = """
CREATE OR REPLACE TEMP VIEW stored AS
SELECT source."partition" AS number, source."offset" AS place FROM inspections WHERE source.topic = {topic}
UNION ALL
SELECT source."partition", source."offset" FROM dead_letters WHERE source.topic = {topic}
"""

_GAPS = """
WITH inside AS (
    SELECT DISTINCT number, place FROM stored JOIN bounds USING (number) WHERE place >= first AND place < beyond
    UNION ALL SELECT number, first - 1 FROM bounds
    UNION ALL SELECT number, beyond FROM bounds
), steps AS (
    SELECT number, place, lead(place) OVER (PARTITION BY number ORDER BY place) AS next FROM inside
)
SELECT number, place + 1, next - 1 FROM steps WHERE next > place + 1 ORDER BY 1, 2
"""

_PENDING = """
CREATE OR REPLACE TEMP TABLE pending AS
WITH reached AS (SELECT number, max(place) AS place FROM stored GROUP BY number)
SELECT unread.camera, unread.sequence, unread.number, unread.place, unread.place > coalesce(reached.place, -1) AS ahead
FROM unread LEFT JOIN reached USING (number) ANTI JOIN stored
    ON stored.number = unread.number AND stored.place = unread.place
"""

_UNPLACED_IN_FLIGHT = "SELECT count(*) FROM pending WHERE ahead AND (camera IS NULL OR sequence IS NULL)"

_PASSED_OVER = """
SELECT number, place FROM pending WHERE NOT ahead AND (camera IS NULL OR sequence IS NULL) ORDER BY 1, 2
"""

_UNPLACED = f"""
SELECT source.topic, source."partition", min(source."offset"), max(source."offset"), count(*),
       list_sort(list(DISTINCT reason))
FROM dead_letters WHERE camera IS NULL OR sequence IS NULL OR NOT ({FROM_FRAMES}) GROUP BY 1, 2 ORDER BY 1, 2
"""


def verify(tables: TableSettings, kafka: KafkaSettings | None = None, *, wait: float = 0.0) -> Accounts:
    """Account for every frame that was captured before the call.

    With `kafka`, the `frames` topic is compared too, as it stands now; when no broker answers, or without `kafka`, the
    tables alone are proved, and `Accounts.broker` is None. Up to `wait` seconds are given to what is still on its way,
    the tables being read anew; frames captured meanwhile are left to the next call.

    Raises TableError when the table `inspections` is not there after `wait` either, or a table cannot be read.
    """
    deadline = time.monotonic() + wait
    with _topic(kafka) as (topic, notes):
        while "inspections" not in open_tables(tables) and time.monotonic() < deadline:
            time.sleep(_PAUSE_SECONDS)
        proof = _Proof(tables=tables, topic=topic, broker=kafka.bootstrap if kafka and topic else None, notes=notes)
        accounts = proof.attempt()
        while not accounts.clean and time.monotonic() < deadline:
            time.sleep(_PAUSE_SECONDS)
            accounts = proof.attempt()
    return accounts


@dataclass(slots=True)
class _Proof:
    """Attempts at one question: which frames there are, and what the topic held, is settled by the first."""

    tables: TableSettings
    topic: FrameTopic | None
    broker: str | None
    notes: tuple[str, ...]
    _unread: Sequence[Record] | None = None
    _expected: Mapping[str, int] | None = None

    def attempt(self) -> Accounts:
        """The accounts from the tables as they are now."""
        history = open_history(self.tables)
        history.require("inspections")
        connection = history.connection
        for name, columns in EMPTY_TABLES.items():
            if name in history.absent:
                connection.execute(f"CREATE TEMP TABLE {name} ({columns})")
        self._find_pending(connection)
        books = keep_books(connection, self._expected)
        self._expected = books.expected
        return Accounts(
            cameras=books.cameras,
            problems=(*books.problems, *self._passed_over(connection), *cross_check(connection)),
            unplaced=tuple(_unplaced(row) for row in rows(connection, _UNPLACED)),
            unplaced_in_flight=int(rows(connection, _UNPLACED_IN_FLIGHT)[0][0]),
            broker=self.broker,
            notes=(
                *self.notes,
                *(f"no table {name!r}: taken as empty" for name in history.absent if name in EMPTY_TABLES),
            ),
        )

    def _find_pending(self, connection: DuckDBPyConnection) -> None:
        """Make `pending`: what the topic held at the first attempt and no table holds now."""
        name = self.topic.name if self.topic else ""
        connection.execute(_STORED.format(topic="'" + name.replace("'", "''") + "'"))
        if self._unread is None:
            self._unread = list(self._read_gaps(connection))
        connection.register("unread", _as_arrow(self._unread))
        connection.execute(_PENDING)

    def _read_gaps(self, connection: DuckDBPyConnection) -> Iterator[Record]:
        if self.topic is None:
            return
        connection.execute("CREATE TEMP TABLE bounds (number BIGINT, first BIGINT, beyond BIGINT)")
        bounds = [(number, first, beyond) for number, (first, beyond) in self.topic.bounds.items()]
        connection.executemany("INSERT INTO bounds VALUES (?, ?, ?)", bounds)
        yield from self.topic.read(rows(connection, _GAPS))

    def _passed_over(self, connection: DuckDBPyConnection) -> Iterator[Problem]:
        """Records that no one can place by camera, which the score query left behind."""
        found = rows(connection, _PASSED_OVER)
        if found:
            examples = tuple(f"partition {number} offset {place}" for number, place in found[:RANGES_SHOWN])
            message = "records of the frames topic without a readable identity, neither inspected nor dead letters"
            yield Problem("passed-over", len(found), message, examples=examples)


@contextmanager
def _topic(kafka: KafkaSettings | None) -> Iterator[tuple[FrameTopic | None, tuple[str, ...]]]:
    """The topic, or None and the reason why the tables must do."""
    if kafka is None:
        yield None, ()
        return
    try:
        topic = FrameTopic(kafka)
    except BrokerError as error:
        yield None, (f"proved from the tables alone: {error}",)
        return
    with closing(topic):
        yield topic, ()


def _as_arrow(records: Sequence[Record]) -> pa.Table:
    import pyarrow as pa

    return pa.table(
        {
            "number": pa.array([record.partition for record in records], pa.int64()),
            "place": pa.array([record.offset for record in records], pa.int64()),
            "camera": pa.array([record.camera for record in records], pa.string()),
            "sequence": pa.array([record.sequence for record in records], pa.int64()),
        }
    )


def _unplaced(row: tuple[Any, ...]) -> Unplaced:
    topic, partition, first, last, count, reasons = row
    return Unplaced(topic, int(partition), int(first), int(last), int(count), tuple(reasons))
