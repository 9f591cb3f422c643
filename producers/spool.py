"""Frames of one camera that wait on the disk while the broker is away.

Frames are appended to segment files, and a segment goes when the last of its frames is settled: nothing is written to
forget a frame, so a full disk can always be emptied. A record is length, CRC-32, sequence and the frame as MessagePack.
What a killed process left half written at the end of a segment is cut off when the spool is opened again; whether a
frame in it was settled before, its camera's ledger knows (docs/adr/0007).
"""

from __future__ import annotations

import logging
import os
import struct
import threading
import time
import zlib
from collections import deque
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from io import FileIO
from pathlib import Path

import msgspec

from producers.backlog import Policy
from sightline.contracts import Frame
from sightline.errors import PublishError

log = logging.getLogger(__name__)

SEGMENT_BYTES = 16 * 1024 * 1024
SYNC_SECONDS = 0.1
"""Longest time that a frame written waits to be forced onto the disk: so much a power failure may take."""

_HEAD = struct.Struct(">IIQ")
_SUFFIX = ".segment"


@dataclass(eq=False, slots=True)
class _Segment:
    """One file: its bytes, and how many of its frames are not settled."""

    path: Path
    size: int = 0
    frames: int = 0


@dataclass(frozen=True, slots=True)
class _Place:
    segment: _Segment
    offset: int
    length: int
    crc: int


class Spool:
    """The frames in `folder`, at most `size` bytes, leaving `spare` bytes of the disk to others. Threads may share it.

    A frame is `waiting` until it is handed out, and held until it is forgotten. The caller sees to it that one process
    at a time has the folder open.
    """

    def __init__(self, folder: Path, *, size: int, spare: int) -> None:
        self._folder = folder
        self._size = size
        self._spare = spare
        self._segment_bytes = min(SEGMENT_BYTES, max(1, size // 8))
        self._segments: deque[_Segment] = deque()
        self._places: dict[int, _Place] = {}
        self._waiting: deque[int] = deque()
        self._settled: list[int] = []
        self._file: FileIO | None = None
        self._number = 0
        self._unsynced = False
        self._synced_at = time.monotonic()
        self._failing = False
        self._mutex = threading.RLock()

    def open(self) -> frozenset[int]:
        """Find what an earlier process left; returns the sequences. Raises PublishError when the folder is unusable."""
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            for path in sorted(self._folder.glob(f"*{_SUFFIX}")):
                self._scan(path)
        except (OSError, ValueError) as error:
            raise PublishError(
                f"the spool {self._folder} cannot be read: {error}; correct its rights, move it away, or name another "
                "folder (SIGHTLINE_PRODUCER_SPOOL)"
            ) from error
        self._waiting = deque(sorted(self._places))
        return frozenset(self._places)

    def retain(self, pending: Collection[int]) -> None:
        """Forget all but `pending`: the others were settled, and only their file outlived the process."""
        with self._mutex:
            self.forget([sequence for sequence in self._places if sequence not in pending])
            self._waiting = deque(sequence for sequence in self._waiting if sequence in self._places)

    @property
    def waiting(self) -> int:
        """Frames that are not handed out yet."""
        return len(self._waiting)

    @property
    def size(self) -> int:
        """Bytes on the disk."""
        with self._mutex:
            return sum(segment.size for segment in self._segments)

    def put(self, frame: Frame, policy: Policy) -> list[int]:
        """Keep a frame until it is its turn; returns the sequences that had to go, perhaps its own.

        `drop-oldest` makes room a segment at a time, every other policy gives up the new frame. A disk that refuses
        counts as full.
        """
        with self._mutex:
            dropped, place = self._write(frame, policy)
            if place is None:
                return [*dropped, frame.sequence]
            self._waiting.append(frame.sequence)
            return dropped

    def keep(self, frame: Frame) -> bool:
        """Keep a copy of a frame that is under way already, for the next process; whether there was room."""
        with self._mutex:
            return frame.sequence in self._places or self._write(frame, Policy.DROP_NEWEST)[1] is not None

    def holds(self, sequence: int) -> bool:
        """Whether the frame is on the disk."""
        return sequence in self._places

    def first(self) -> int | None:
        """The sequence that is to be handed out next."""
        with self._mutex:
            return self._waiting[0] if self._waiting else None

    def read(self, sequence: int) -> Frame | None:
        """The frame; None when the disk did not keep it whole."""
        with self._mutex:
            place = self._places[sequence]
            try:
                with place.segment.path.open("rb") as file:
                    file.seek(place.offset)
                    data = file.read(place.length)
                if zlib.crc32(data) != place.crc:
                    raise ValueError("its checksum is wrong")
                return msgspec.msgpack.decode(data, type=Frame)
            except (OSError, ValueError) as error:
                where = {"spool": str(self._folder), "sequence": sequence}
                log.error("spooled frame is damaged", extra={**where, "why": str(error)})
                return None

    def hand_out(self) -> None:
        """The first frame is under way; it stays on the disk until it is forgotten."""
        with self._mutex:
            self._waiting.popleft()

    def settle(self, sequence: int) -> None:
        """What became of the frame is known, and will be in the ledger; see `settled`."""
        with self._mutex:
            if sequence in self._places:
                self._settled.append(sequence)

    def settled(self) -> list[int]:
        """Frames settled since the last call: to be forgotten once the ledger has written them down, and not before."""
        with self._mutex:
            settled, self._settled = self._settled, []
            return settled

    def forget(self, sequences: Iterable[int]) -> None:
        """Give up these frames' places; a segment without any is deleted."""
        with self._mutex:
            for sequence in sequences:
                place = self._places.pop(sequence, None)
                if place is not None:
                    place.segment.frames -= 1
            for segment in [segment for segment in self._segments if not segment.frames]:
                self._delete(segment)

    def sync(self) -> None:
        """Force what was written onto the disk, where the last time is `SYNC_SECONDS` ago."""
        with self._mutex:
            if self._unsynced and time.monotonic() - self._synced_at >= SYNC_SECONDS:
                self._force()

    def close(self) -> None:
        """Leave everything on the disk for the next process."""
        with self._mutex:
            if self._unsynced:
                self._force()
            self._end_segment()

    def _scan(self, path: Path) -> None:
        """Note what a segment holds; cut off what was not written to its end."""
        segment = _Segment(path)
        self._number = max(self._number, int(path.name.removesuffix(_SUFFIX)) + 1)
        size = path.stat().st_size
        with path.open("r+b") as file:
            while len(head := file.read(_HEAD.size)) == _HEAD.size:
                length, crc, sequence = _HEAD.unpack(head)
                offset = segment.size + _HEAD.size
                if not length or offset + length > size:
                    break
                self._places[sequence] = _Place(segment, offset, length, crc)
                segment.frames += 1
                segment.size = offset + length
                file.seek(segment.size)
            if segment.size < size:
                log.warning("torn end of a spool cut off", extra={"file": str(path), "bytes": size - segment.size})
                file.truncate(segment.size)
        if segment.frames:
            self._segments.append(segment)
        else:
            path.unlink()

    def _write(self, frame: Frame, policy: Policy) -> tuple[list[int], _Place | None]:
        data = msgspec.msgpack.encode(frame)
        need = _HEAD.size + len(data)
        dropped: list[int] = []
        freed = 0
        try:
            while not self._fits(need, freed):
                if policy is not Policy.DROP_OLDEST or not self._waiting:
                    return dropped, None
                before = self.size
                dropped += self._drop_oldest_segment()
                freed += before - self.size
            return dropped, self._append(frame.sequence, data)
        except OSError as error:
            if not self._failing:
                log.error("spool cannot be written", extra={"spool": str(self._folder), "why": str(error)})
            self._failing = True
            return dropped, None

    def _fits(self, need: int, freed: int) -> bool:
        if self.size + need > self._size:
            return False
        disk = os.statvfs(self._folder)
        return freed >= need or disk.f_bavail * disk.f_frsize - need >= self._spare

    def _drop_oldest_segment(self) -> list[int]:
        """The waiting frames of the oldest segment that has any; those under way keep their place."""
        oldest = self._places[self._waiting[0]].segment
        gone = [sequence for sequence in self._waiting if self._places[sequence].segment is oldest]
        out = set(gone)
        self._waiting = deque(sequence for sequence in self._waiting if sequence not in out)
        self.forget(gone)
        return gone

    def _append(self, sequence: int, data: bytes) -> _Place:
        if self._file is None or self._segments[-1].size >= self._segment_bytes:
            self._begin_segment()
        assert self._file is not None
        segment = self._segments[-1]
        head = _HEAD.pack(len(data), zlib.crc32(data), sequence)
        try:
            rest = memoryview(head + data)
            while rest:  # a disk that is nearly full takes a part
                rest = rest[self._file.write(rest) :]
        except OSError:
            self._file.truncate(segment.size)
            self._end_segment()
            if not segment.frames:
                self._delete(segment)
            raise
        place = _Place(segment, segment.size + len(head), len(data), zlib.crc32(data))
        segment.size += len(head) + len(data)
        segment.frames += 1
        self._places[sequence] = place
        self._unsynced, self._failing = True, False
        return place

    def _begin_segment(self) -> None:
        self._end_segment()
        path = self._folder / f"{self._number:012d}{_SUFFIX}"
        self._file = FileIO(path, "ab")
        self._number += 1
        self._segments.append(_Segment(path))

    def _end_segment(self) -> None:
        if self._file is not None:
            if self._unsynced:
                self._force()
            self._file.close()
            self._file = None

    def _force(self) -> None:
        if self._file is not None:
            try:
                os.fdatasync(self._file.fileno())
            except OSError as error:
                log.error("spool not forced onto the disk", extra={"spool": str(self._folder), "why": str(error)})
        self._unsynced = False
        self._synced_at = time.monotonic()

    def _delete(self, segment: _Segment) -> None:
        if self._file is not None and segment is self._segments[-1]:
            self._file.close()
            self._file = None
        self._segments.remove(segment)
        try:
            segment.path.unlink(missing_ok=True)
        except OSError as error:
            log.error("spool segment not deleted", extra={"file": str(segment.path), "why": str(error)})
