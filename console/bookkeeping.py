"""Accounts out of the tables, in SQL over ranges, so that ten million inspections are a matter of seconds.

A camera's inspected sequences are folded into ranges first; then all ranges that speak of the camera (inspected, dead
letters, dropped, in doubt, in flight, expected) are cut at each other's ends. What remains are segments in which every
frame has the same fate.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from console.accounts import RANGES_SHOWN, CameraAccount, FrameRange, Lost, Problem

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

EMPTY_TABLES: Mapping[str, str] = {
    "dead_letters": "camera VARCHAR, sequence BIGINT, reason VARCHAR, stage VARCHAR, "
    'source STRUCT(topic VARCHAR, "partition" BIGINT, "offset" BIGINT)',
    "camera_events": "event_id VARCHAR, camera VARCHAR, kind VARCHAR, next_sequence BIGINT, first_sequence BIGINT, "
    "last_sequence BIGINT, reason VARCHAR",
    "alerts": "alert_id VARCHAR, state VARCHAR, camera VARCHAR, opened_at TIMESTAMPTZ, updated_at TIMESTAMPTZ, "
    "first_sequence BIGINT, last_sequence BIGINT, count BIGINT, peak_score DOUBLE, peak_sequence BIGINT",
    "frame_archive": "camera VARCHAR, sequence BIGINT, captured_at TIMESTAMPTZ, day DATE",
}
"""Stand-ins for tables that are not there, with the columns that are read here."""

FROM_FRAMES = "stage <> 'history'"
"""Dead letters that were frames; history's own are events that no one could read."""

_UNEXPLAINED = "fates = 0 AND doubted = 0"

_WEAKER: Mapping[str, str] = {"dropped": "", "shed": " AND dropped = 0", "in-doubt": " AND dropped + shed = 0"}
"""A frame is counted once, as what is known of it for the most certain."""

_SEEN = """
CREATE OR REPLACE TEMP TABLE seen AS
SELECT camera, sequence, count(*) AS copies, min(captured_at) <> max(captured_at) AS differ
FROM inspections GROUP BY camera, sequence
"""

_SPANS = f"""
CREATE OR REPLACE TEMP TABLE spans AS
WITH points AS (
    SELECT 'inspected' AS fate, camera, sequence FROM seen
    UNION ALL
    SELECT DISTINCT 'dead' AS fate, camera, sequence FROM dead_letters AS letters
    -- inspected later, as another record: it was replayed
    ANTI JOIN inspections ON inspections.camera = letters.camera AND inspections.sequence = letters.sequence
        AND inspections.source.topic = letters.source.topic
        AND inspections.source."partition" = letters.source."partition"
        AND inspections.source."offset" > letters.source."offset"
    WHERE {FROM_FRAMES} AND camera IS NOT NULL AND sequence IS NOT NULL
    UNION ALL
    SELECT DISTINCT 'pending' AS fate, camera, sequence FROM pending
    WHERE camera IS NOT NULL AND sequence IS NOT NULL AND ahead
), numbered AS (
    SELECT *, sequence - row_number() OVER (PARTITION BY fate, camera ORDER BY sequence) AS island FROM points
)
SELECT fate, camera, min(sequence)::HUGEINT AS first, max(sequence)::HUGEINT AS last
FROM numbered GROUP BY fate, camera, island
UNION ALL
SELECT kind || '/' || coalesce(reason, 'unknown'), camera, first_sequence::HUGEINT, last_sequence::HUGEINT
FROM camera_events WHERE kind IN ('dropped', 'in-doubt', 'shed') AND first_sequence <= last_sequence
"""

_EXPECTED = """
SELECT camera, max(following) FROM (
    SELECT camera, max(last) + 1 AS following FROM spans GROUP BY camera
    UNION ALL
    SELECT camera, max(next_sequence)::HUGEINT FROM camera_events GROUP BY camera
    UNION ALL
    SELECT camera, max(sequence)::HUGEINT + 1 FROM pending
    WHERE camera IS NOT NULL AND sequence IS NOT NULL GROUP BY camera
) GROUP BY camera
"""


@dataclass(frozen=True, slots=True)
class Books:
    """An account for each camera, what is wrong with them, and how many frames each camera was expected to have."""

    cameras: tuple[CameraAccount, ...]
    problems: tuple[Problem, ...]
    expected: Mapping[str, int]


def keep_books(connection: DuckDBPyConnection, expected: Mapping[str, int] | None = None) -> Books:
    """Balance every camera.

    Needs the tables, and `pending`: frames at the broker that are in no table, as (camera, sequence, ahead), `ahead`
    meaning that nothing later of their partition has been stored either. With `expected` from earlier books the same
    frames are balanced again, whatever has been captured since.
    """
    connection.execute(_SEEN)
    connection.execute(_SPANS)
    if expected is None:
        expected = {camera: int(following) for camera, following in rows(connection, _EXPECTED)}
    losses = [row[0] for row in rows(connection, "SELECT DISTINCT fate FROM spans WHERE fate LIKE '%/%' ORDER BY fate")]
    _cut_segments(connection, losses, expected)
    repeated = _repeated(connection)
    cameras = tuple(_account(row, losses, repeated) for row in _balances(connection, losses))
    return Books(cameras=cameras, problems=tuple(_problems(connection, cameras)), expected=expected)


def rows(connection: DuckDBPyConnection, sql: str) -> list[tuple[Any, ...]]:
    """All rows of a small result."""
    found: list[tuple[Any, ...]] = connection.execute(sql).fetchall()
    return found


def _cut_segments(connection: DuckDBPyConnection, losses: Sequence[str], expected: Mapping[str, int]) -> None:
    """Make `segments`: camera, first, last, frames, and for each fate by how many spans it covers the segment.

    `lost_0`, `lost_1`, … stand for `losses` in their order; `fates` counts inspected, dead and dropped.
    """
    connection.execute("CREATE OR REPLACE TEMP TABLE expected (camera VARCHAR, following HUGEINT)")
    if expected:
        connection.executemany("INSERT INTO expected VALUES (?, ?)", list(expected.items()))
    columns = {fate: fate for fate in ("inspected", "dead", "pending", "expected")}
    columns |= {fate: f"lost_{at}" for at, fate in enumerate(losses)}
    steps = ", ".join(f"sum(step) FILTER (fate = {_text(fate)}) AS {name}" for fate, name in columns.items())
    levels = ", ".join(f"sum(coalesce({name}, 0)) OVER upto AS {name}" for name in columns.values())
    connection.execute(f"""
    CREATE OR REPLACE TEMP TABLE segments AS
    WITH ends AS (
        SELECT camera, fate, first AS place, 1 AS step FROM spans
        UNION ALL SELECT camera, fate, last + 1, -1 FROM spans
        UNION ALL SELECT camera, 'expected', 0, 1 FROM expected
        UNION ALL SELECT camera, 'expected', following, -1 FROM expected
    ), steps AS (
        SELECT camera, place, {steps} FROM ends GROUP BY camera, place
    ), levels AS (
        SELECT camera, place AS first, lead(place) OVER (PARTITION BY camera ORDER BY place) - 1 AS last, {levels}
        FROM steps WINDOW upto AS (PARTITION BY camera ORDER BY place ROWS UNBOUNDED PRECEDING)
    ), weighed AS (
        SELECT *, {_sum_of(losses, "dropped/")} AS dropped, {_sum_of(losses, "shed/")} AS shed,
               {_sum_of(losses, "in-doubt/", "shed/")} AS doubted FROM levels
    )
    SELECT *, last - first + 1 AS frames, inspected + dead + dropped AS fates FROM weighed WHERE expected > 0
    """)


def _sum_of(losses: Sequence[str], *kinds: str) -> str:
    return " + ".join(["0", *(f"lost_{at}" for at, fate in enumerate(losses) if fate.startswith(kinds))])


def _balances(connection: DuckDBPyConnection, losses: Sequence[str]) -> list[tuple[Any, ...]]:
    """One row a camera: the plain figures, then one for each of `losses`."""
    lost = "".join(
        # what was judged after all was not lost
        f", sum(frames) FILTER (lost_{at} > 0 AND inspected + dead = 0{_WEAKER[fate.split('/')[0]]})"
        for at, fate in enumerate(losses)
    )
    return rows(
        connection,
        f"""
        SELECT camera, sum(frames), sum(frames) FILTER (inspected > 0), sum(frames) FILTER (dead > 0),
               sum(frames) FILTER ({_UNEXPLAINED} AND pending > 0),
               sum(frames) FILTER ({_UNEXPLAINED} AND pending = 0),
               sum(frames) FILTER (fates > 1), sum(frames) FILTER (doubted > 0 AND inspected + dead > 0) {lost}
        FROM segments GROUP BY camera ORDER BY camera
        """,
    )


def _account(row: tuple[Any, ...], losses: Sequence[str], repeated: Mapping[str, tuple[int, int]]) -> CameraAccount:
    camera, *figures = row
    captured, inspected, dead, pending, missing, twice, turned_up, *lost = (int(figure or 0) for figure in figures)
    duplicated, restarted = repeated.get(camera, (0, 0))
    return CameraAccount(
        camera=camera,
        captured=captured,
        inspected=inspected,
        dead_lettered=dead,
        lost=tuple(_lost(fate, frames) for fate, frames in zip(losses, lost, strict=True) if frames),
        in_flight=pending,
        missing=missing,
        twice=twice,
        turned_up=turned_up,
        duplicated=duplicated,
        restarted=restarted,
    )


def _lost(fate: str, frames: int) -> Lost:
    kind, reason = fate.split("/", 1)
    return Lost(kind=kind, reason=reason, frames=frames)


def _repeated(connection: DuckDBPyConnection) -> dict[str, tuple[int, int]]:
    """For each camera: surplus rows of one and the same frame, and sequences that several frames have."""
    found = rows(
        connection,
        """
        WITH frames AS (
            SELECT camera, sequence, captured_at, count(*) AS copies
            FROM inspections SEMI JOIN (SELECT camera, sequence FROM seen WHERE copies > 1) USING (camera, sequence)
            GROUP BY camera, sequence, captured_at
        ), sequences AS (
            SELECT camera, sum(copies - 1) AS surplus, count(*) > 1 AS restarted FROM frames GROUP BY camera, sequence
        )
        SELECT camera, sum(surplus), count(*) FILTER (restarted) FROM sequences GROUP BY camera
        """,
    )
    return {camera: (int(surplus), int(restarted)) for camera, surplus, restarted in found}


def _problems(connection: DuckDBPyConnection, cameras: Sequence[CameraAccount]) -> Iterator[Problem]:
    if missing := sum(camera.missing for camera in cameras):
        ranges = _ranges(connection, f"SELECT camera, first, last FROM segments WHERE {_UNEXPLAINED} AND pending = 0")
        yield Problem("missing", missing, "neither inspected, nor a dead letter, nor reported as dropped", ranges)
    if twice := sum(camera.twice for camera in cameras):
        ranges = _ranges(connection, "SELECT camera, first, last FROM segments WHERE fates > 1")
        yield Problem("accounted-twice", twice, "with more than one fate: inspected, dead letter, dropped", ranges)
    if duplicated := sum(camera.duplicated for camera in cameras):
        yield Problem(
            "duplicated", duplicated, "surplus rows in inspections", _repeated_ranges(connection, "NOT differ")
        )
    if restarted := sum(camera.restarted for camera in cameras):
        message = (
            "sequences that stand for more than one frame: the camera's numbering began anew (its ledger was deleted, "
            "or two producers share its name), and a lost frame can hide behind its namesake"
        )
        yield Problem("restarted", restarted, message, _repeated_ranges(connection, "differ"))


def _repeated_ranges(connection: DuckDBPyConnection, which: str) -> tuple[FrameRange, ...]:
    return _ranges(
        connection, f"SELECT camera, sequence AS first, sequence AS last FROM seen WHERE copies > 1 AND {which}"
    )


def _ranges(connection: DuckDBPyConnection, spans: str) -> tuple[FrameRange, ...]:
    """The first of the disjoint spans that a query gives, neighbours joined."""
    found = rows(
        connection,
        f"""
        WITH spans AS ({spans}), marked AS (
            SELECT *, first IS DISTINCT FROM lag(last) OVER of_camera + 1 AS starts FROM spans
            WINDOW of_camera AS (PARTITION BY camera ORDER BY first)
        ), numbered AS (
            SELECT *, count(*) FILTER (starts) OVER (PARTITION BY camera ORDER BY first) AS island FROM marked
        )
        SELECT camera, min(first), max(last) FROM numbered GROUP BY camera, island ORDER BY 1, 2 LIMIT {RANGES_SHOWN}
        """,
    )
    return tuple(FrameRange(camera, int(first), int(last)) for camera, first, last in found)


def _text(value: str) -> str:
    return "'" + value.replace("'", "''") + "'"
