"""The ledger of one camera: which sequence comes next, and what became of every frame that had one.

A sequence is written down before its frame leaves the process, so a number is never given to two frames, whether the
process ends by itself, is killed, or loses power. For each camera, at any time::

    captured = delivered + dropped (by reason) + pending

Pending frames of a process that died are in doubt, unless they are on the disk (`producers.spool`), where they stay
pending: nobody knows whether the broker took them. The next process to open the ledger reports them once, as
`in-doubt`, and counts them under `producer-crash`. Reports that must not be lost wait in the ledger's outbox until the
broker has them.
"""

from __future__ import annotations

import fcntl
import sqlite3
import threading
from collections.abc import Callable, Collection, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import IO

from sightline import codec
from sightline.contracts import CameraEvent, CameraEventKind, DropReason
from sightline.errors import PublishError
from sightline.file_names import file_name

VERSION = 1
RESERVE = 256
"""Sequences set aside at a time on the disk itself: so many are at most in doubt after a power failure."""

_SCHEMA = """
CREATE TABLE camera (only INTEGER PRIMARY KEY CHECK (only = 1), next INTEGER NOT NULL, ceiling INTEGER NOT NULL,
                     boot TEXT NOT NULL);
CREATE TABLE pending (sequence INTEGER PRIMARY KEY);
CREATE TABLE tally (fate TEXT PRIMARY KEY, frames INTEGER NOT NULL);
CREATE TABLE outbox (event_id TEXT PRIMARY KEY, event BLOB NOT NULL);
INSERT INTO camera VALUES (1, 0, 0, '');
PRAGMA user_version = 1;
"""
_DELIVERED = "delivered"


@dataclass(frozen=True, slots=True, kw_only=True)
class Tally:
    """What became of frames: `captured` = `delivered` + the sum of `dropped` + `pending`."""

    captured: int
    delivered: int
    dropped: dict[DropReason, int] = field(default_factory=dict)
    pending: int = 0

    def since(self, earlier: Tally) -> Tally:
        """What was added after `earlier`; frames pending then may be among those delivered, so sums need not agree."""
        dropped = {reason: count - earlier.dropped.get(reason, 0) for reason, count in self.dropped.items()}
        return Tally(
            captured=self.captured - earlier.captured,
            delivered=self.delivered - earlier.delivered,
            dropped={reason: count for reason, count in dropped.items() if count},
            pending=self.pending,
        )


@dataclass(frozen=True, slots=True)
class _Loss:
    sequence: int
    kind: CameraEventKind
    reason: DropReason


class Ledger:
    """The ledger of `camera` in `folder`, locked for this process. Threads may share it.

    `spooled` tells, once the lock is held, which sequences an earlier process left on the disk. Raises PublishError
    when another producer has the camera open, or the file cannot be read or written.
    """

    def __init__(
        self, folder: Path, line: str, camera: str, at: datetime, spooled: Callable[[], Collection[int]] = tuple
    ) -> None:
        self.line = line
        self.camera = camera
        name = file_name(camera)
        self._file = folder / f"{name}.db"
        self._mutex = threading.RLock()
        self._delivered: list[int] = []
        self._lost: list[_Loss] = []
        self._handed: set[str] = set()
        self._extendable: str | None = None
        self._lock = _lock(folder / f"{name}.lock", camera)
        try:
            self._base = self._connect()
            self._next = self._ceiling = 0
            with self._transaction():
                self._recover(at, frozenset(spooled()))
        except BaseException:
            self._lock.close()
            raise

    @property
    def next_sequence(self) -> int:
        """The number of frames captured so far."""
        return self._next

    def reserve(self) -> int:
        """The sequence of a frame just captured, pending from now on."""
        with self._mutex:
            sequence = self._next
            if sequence >= self._ceiling:
                self._raise_ceiling(sequence + RESERVE)
            with self._transaction():
                self._base.execute("UPDATE camera SET next = ?", (sequence + 1,))
                self._base.execute("INSERT INTO pending VALUES (?)", (sequence,))
            self._next = sequence + 1
            return sequence

    def delivered(self, sequence: int) -> None:
        """The broker has the frame; written down by the next `settle`."""
        with self._mutex:
            self._delivered.append(sequence)

    def dropped(self, sequence: int, reason: DropReason) -> None:
        """The frame never left; written down and put in the outbox by the next `settle`."""
        with self._mutex:
            self._lost.append(_Loss(sequence, CameraEventKind.DROPPED, reason))

    def doubtful(self, sequence: int, reason: DropReason) -> None:
        """The frame left and no answer came: counted like a dropped one, but it may turn up."""
        with self._mutex:
            self._lost.append(_Loss(sequence, CameraEventKind.IN_DOUBT, reason))

    def settle(self, at: datetime) -> None:
        """Write down, at once or not at all, what became of frames since the last time; losses go to the outbox too."""
        with self._mutex:
            if not self._delivered and not self._lost:
                return
            with self._transaction():
                self._forget_pending(self._delivered)
                self._count(_DELIVERED, len(self._delivered))
                self._write_losses(self._lost, at)
            self._delivered, self._lost = [], []

    def report(self, kind: CameraEventKind, at: datetime, message: str | None = None) -> None:
        """Put an event without a range into the outbox."""
        with self._mutex, self._transaction():
            self._put(self.event(kind, at, message=message))

    def event(
        self,
        kind: CameraEventKind,
        at: datetime,
        *,
        first: int | None = None,
        last: int | None = None,
        reason: DropReason | None = None,
        message: str | None = None,
    ) -> CameraEvent:
        """An event of this camera; its id depends on nothing but what it says."""
        return CameraEvent(
            event_id=codec.digest_id(self.line, self.camera, kind, at, first, last, reason),
            line=self.line,
            camera=self.camera,
            kind=kind,
            at=at,
            next_sequence=self._next,
            first_sequence=first,
            last_sequence=last,
            reason=reason,
            message=message,
        )

    def hand_out(self, most: int) -> list[CameraEvent]:
        """Events of the outbox that are not on their way yet, oldest first, so that at most `most` are."""
        with self._mutex, self._transaction():
            rows = self._base.execute("SELECT event_id, event FROM outbox ORDER BY rowid LIMIT ?", (most,)).fetchall()
            waiting = [row for row in rows if row[0] not in self._handed][: max(0, most - len(self._handed))]
            self._handed.update(event_id for event_id, _ in waiting)
        return [codec.decode(CameraEvent, event) for _, event in waiting]

    def take_back(self, event_id: str) -> None:
        """The broker did not take the event; it will be handed out again."""
        with self._mutex:
            self._handed.discard(event_id)

    def sent(self, event_id: str) -> None:
        """The broker has the event."""
        with self._mutex, self._transaction():
            self._base.execute("DELETE FROM outbox WHERE event_id = ?", (event_id,))
            self._handed.discard(event_id)

    def unsent(self) -> int:
        """Events that the broker is not known to have."""
        with self._mutex, self._transaction():
            return int(self._base.execute("SELECT count(*) FROM outbox").fetchone()[0])

    def pending(self) -> frozenset[int]:
        """Frames that nothing has become of, as far as it is settled."""
        with self._mutex, self._transaction():
            return frozenset(row[0] for row in self._base.execute("SELECT sequence FROM pending"))

    def tally(self) -> Tally:
        """What became of all frames since the ledger began, as far as it is settled."""
        with self._mutex, self._transaction():
            counts = dict(self._base.execute("SELECT fate, frames FROM tally").fetchall())
            pending = int(self._base.execute("SELECT count(*) FROM pending").fetchone()[0])
            return Tally(
                captured=self._next,
                delivered=counts.pop(_DELIVERED, 0),
                dropped={DropReason(reason): frames for reason, frames in counts.items()},
                pending=pending,
            )

    def close(self) -> None:
        """Let the camera go; whatever is pending and not on the disk will be in doubt."""
        with self._mutex:
            self._raise_ceiling(self._next)
            self._base.close()
            self._lock.close()

    def _connect(self) -> sqlite3.Connection:
        with self._explained():
            base = sqlite3.connect(self._file, check_same_thread=False, isolation_level=None, timeout=10)
            base.execute("PRAGMA journal_mode = WAL")
            base.execute("PRAGMA synchronous = NORMAL")
            version = base.execute("PRAGMA user_version").fetchone()[0]
            if not version:
                base.executescript(f"BEGIN; {_SCHEMA} COMMIT;")
            elif version != VERSION:
                raise PublishError(
                    f"the ledger {self._file} has version {version}, this program reads version {VERSION}; "
                    "use the program that wrote it, or another folder (SIGHTLINE_PRODUCER_LEDGER)"
                )
            return base

    def _recover(self, at: datetime, spooled: frozenset[int]) -> None:
        following, ceiling, boot = self._base.execute("SELECT next, ceiling, boot FROM camera").fetchone()
        self._next, self._ceiling = int(following), int(ceiling)
        pending = [row[0] for row in self._base.execute("SELECT sequence FROM pending ORDER BY sequence")]
        if self._ceiling > self._next and (not boot or boot != _boot_id()):
            # the machine went down, perhaps with the last writes: every number set aside may be in use
            pending.extend(range(self._next, self._ceiling))
            self._next = self._ceiling
        self._base.execute("UPDATE camera SET next = ?, boot = ?", (self._next, _boot_id()))
        kept = spooled.intersection(pending)
        # a power failure may have taken the entry and left the frame
        self._base.executemany("INSERT OR IGNORE INTO pending VALUES (?)", ((number,) for number in kept))
        doubtful = [number for number in pending if number not in kept]
        losses = [_Loss(number, CameraEventKind.IN_DOUBT, DropReason.PRODUCER_CRASH) for number in doubtful]
        self._write_losses(losses, at)

    def _write_losses(self, losses: list[_Loss], at: datetime) -> None:
        self._forget_pending(loss.sequence for loss in losses)
        for kind, reason in sorted({(loss.kind, loss.reason) for loss in losses}):
            of_one_kind = [loss.sequence for loss in losses if (loss.kind, loss.reason) == (kind, reason)]
            self._count(reason, len(of_one_kind))
            for first, last in ranges(of_one_kind):
                self._put_range(kind, reason, first, last, at)

    def _put_range(self, kind: CameraEventKind, reason: DropReason, first: int, last: int, at: datetime) -> None:
        """One event for a range; it grows the last one while that is unsent, or an outage would fill the disk."""
        if self._extendable is not None and self._extendable not in self._handed:
            row = self._base.execute("SELECT event FROM outbox WHERE event_id = ?", (self._extendable,)).fetchone()
            before = codec.decode(CameraEvent, row[0]) if row else None
            if before and (before.kind, before.reason, before.last_sequence) == (kind, reason, first - 1):
                self._base.execute("DELETE FROM outbox WHERE event_id = ?", (self._extendable,))
                first = first if before.first_sequence is None else before.first_sequence
        event = self.event(kind, at, first=first, last=last, reason=reason)
        self._put(event)
        self._extendable = event.event_id

    def _put(self, event: CameraEvent) -> None:
        self._base.execute("INSERT OR IGNORE INTO outbox VALUES (?, ?)", (event.event_id, codec.encode(event)))

    def _forget_pending(self, sequences: Iterable[int]) -> None:
        self._base.executemany("DELETE FROM pending WHERE sequence = ?", ((number,) for number in sequences))

    def _count(self, fate: str, frames: int) -> None:
        self._base.execute(
            "INSERT INTO tally VALUES (?, ?) ON CONFLICT (fate) DO UPDATE SET frames = frames + excluded.frames",
            (str(fate), frames),
        )

    def _raise_ceiling(self, ceiling: int) -> None:
        """Write the ceiling through to the disk: only it must survive a power failure."""
        with self._explained():
            self._base.execute("PRAGMA synchronous = FULL")
            self._base.execute("UPDATE camera SET ceiling = ?", (ceiling,))
            self._base.execute("PRAGMA synchronous = NORMAL")
        self._ceiling = ceiling

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        with self._explained():
            self._base.execute("BEGIN IMMEDIATE")
            try:
                yield
            except BaseException:
                self._base.execute("ROLLBACK")
                raise
            self._base.execute("COMMIT")

    @contextmanager
    def _explained(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.Error as error:
            raise PublishError(
                f"the ledger {self._file} of camera {self.camera!r} cannot be used: {error}; check free disk space and "
                "rights, or move the file away, which starts the camera's sequence at 0 again"
            ) from error


def ranges(numbers: Iterable[int]) -> Iterator[tuple[int, int]]:
    """The closed ranges that `numbers` form: 1, 2, 3, 7 gives (1, 3) and (7, 7)."""
    start: int | None = None
    last = -1
    for number in sorted(numbers):
        if start is None:
            start = number
        elif number != last + 1:
            yield start, last
            start = number
        last = number
    if start is not None:
        yield start, last


def _lock(path: Path, camera: str) -> IO[str]:
    """Lock `path` until the process ends, however it ends."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle = path.open("a")
    except OSError as error:
        raise PublishError(
            f"the ledger folder {str(path.parent)!r} cannot be written: {error}; free some space, correct its rights, "
            "or name another one (SIGHTLINE_PRODUCER_LEDGER)"
        ) from error
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        handle.close()
        raise PublishError(
            f"camera {camera!r} is being published by another process on the same ledger ({path.parent}); stop that "
            "one, or give this camera another name (--camera)"
        ) from None
    return handle


def _boot_id() -> str:
    """Changes when the machine starts; empty where the system does not tell, which counts as changed."""
    path = Path("/proc/sys/kernel/random/boot_id")
    return path.read_text().strip() if path.is_file() else ""
