"""Frames on the disk: kept through kills, in order, within bounds, and gone when they are settled."""

from __future__ import annotations

import errno
import os
import shutil
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from producers import spool as spool_module
from producers.backlog import Policy
from producers.ledger import Ledger, Tally
from producers.spool import Spool
from sightline.contracts import DropReason, Frame

AT = datetime(2026, 11, 21, 8, tzinfo=UTC)
MB = 1024 * 1024


def frame(sequence: int, size: int = 1000) -> Frame:
    return Frame(
        line="line-1",
        camera="cam-1",
        sequence=sequence,
        captured_at=AT,
        product="cap",
        width=64,
        height=48,
        jpeg=bytes([sequence % 256]) * size,
        label="dent",
    )


def opened(folder: Path, size: int = 100 * MB, spare: int = 0) -> Spool:
    spool = Spool(folder, size=size, spare=spare)
    spool.open()
    return spool


def drained(spool: Spool) -> list[Frame | None]:
    found = []
    while (sequence := spool.first()) is not None:
        found.append(spool.read(sequence))
        spool.hand_out()
    return found


def test_frames_come_out_as_they_went_in_and_only_once(tmp_path: Path) -> None:
    spool = opened(tmp_path)
    for sequence in range(5):
        assert spool.put(frame(sequence), Policy.DROP_OLDEST) == []
    assert drained(spool) == [frame(sequence) for sequence in range(5)]
    assert spool.first() is None
    spool.close()


def test_a_killed_process_leaves_every_whole_frame_in_order(tmp_path: Path) -> None:
    spool = opened(tmp_path / "a")
    for sequence in (7, 8, 9):
        spool.put(frame(sequence), Policy.DROP_OLDEST)
    assert spool.keep(frame(5))  # under way when the broker went: written later, captured earlier
    spool.hand_out()
    shutil.copytree(tmp_path / "a", tmp_path / "b")  # what a kill leaves: nothing was closed
    spool.close()
    (segment,) = (tmp_path / "b").iterdir()
    with segment.open("ab") as file:
        file.write(segment.read_bytes()[:500])  # the next frame, half written
    again = opened(tmp_path / "b")
    assert [found and found.sequence for found in drained(again)] == [5, 7, 8, 9]
    again.put(frame(10), Policy.DROP_OLDEST)
    assert drained(again) == [frame(10)]
    again.close()


def test_a_frame_that_the_disk_damaged_is_told_from_a_whole_one(tmp_path: Path) -> None:
    spool = opened(tmp_path)
    for sequence in range(3):
        spool.put(frame(sequence), Policy.DROP_OLDEST)
    spool.close()
    (segment,) = tmp_path.iterdir()
    data = bytearray(segment.read_bytes())
    data[len(data) // 2] ^= 1
    segment.write_bytes(data)
    assert drained(opened(tmp_path)) == [frame(0), None, frame(2)]


def test_the_disk_is_empty_again_when_all_frames_are_settled(tmp_path: Path) -> None:
    spool = opened(tmp_path, size=64_000)
    for sequence in range(30):
        spool.put(frame(sequence), Policy.DROP_NEWEST)
    drained(spool)
    for sequence in range(30):
        spool.settle(sequence)
    assert spool.size > 30_000
    settled = spool.settled()
    spool.forget(settled)
    assert (settled, spool.size, list(tmp_path.iterdir())) == (list(range(30)), 0, [])
    assert spool.settled() == []
    assert spool.put(frame(30), Policy.DROP_NEWEST) == []
    spool.close()


def test_a_full_spool_drops_by_policy_and_names_what_went(tmp_path: Path) -> None:
    newest = opened(tmp_path / "newest", size=10_000)
    gone = [sequence for number in range(20) for sequence in newest.put(frame(number), Policy.DROP_NEWEST)]
    kept = [found.sequence for found in drained(newest) if found]
    assert kept == list(range(len(kept)))
    assert kept + gone == list(range(20))
    oldest = opened(tmp_path / "oldest", size=10_000)
    gone = [sequence for number in range(20) for sequence in oldest.put(frame(number), Policy.DROP_OLDEST)]
    kept = [found.sequence for found in drained(oldest) if found]
    assert gone + kept == list(range(20))
    assert kept[-1] == 19
    assert len(kept) >= 7
    assert oldest.size <= 10_000
    for spool in (newest, oldest):
        spool.close()


def test_what_is_under_way_is_never_dropped_for_a_new_frame(tmp_path: Path) -> None:
    spool = opened(tmp_path, size=4_000)
    for sequence in range(3):
        assert spool.keep(frame(sequence))
    assert spool.put(frame(3), Policy.DROP_OLDEST) == [3]
    assert all(spool.holds(sequence) for sequence in range(3))
    spool.close()


def test_a_full_disk_counts_as_a_full_spool(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    spool = opened(tmp_path)
    spool.put(frame(0), Policy.DROP_OLDEST)
    before = spool.size

    class Full(spool_module.FileIO):
        def write(self, data: memoryview) -> int:
            room = 400 - (self.tell() - before)
            if room <= 0:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            return super().write(data[:room])

    with monkeypatch.context() as patch:
        patch.setattr(spool_module, "FileIO", Full)
        spool.close()  # the next frame opens a file anew
        before = 0
        assert spool.put(frame(1), Policy.DROP_NEWEST) == [1]
        assert not spool.keep(frame(2))
    assert spool.put(frame(3), Policy.DROP_NEWEST) == []
    spool.close()
    assert [found and found.sequence for found in drained(opened(tmp_path))] == [0, 3]


def test_the_last_of_the_disk_is_left_to_others(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    spool = opened(tmp_path, spare=5000)
    for sequence in range(3):
        spool.put(frame(sequence), Policy.DROP_NEWEST)
    monkeypatch.setattr(spool_module.os, "statvfs", lambda _: SimpleNamespace(f_bavail=5500, f_frsize=1))
    assert spool.put(frame(3), Policy.DROP_NEWEST) == [3]
    # as much goes as comes, whatever others do with the disk
    assert spool.put(frame(3), Policy.DROP_OLDEST) == [0, 1, 2]
    assert drained(spool) == [frame(3)]
    spool.close()


def test_the_next_process_sends_what_is_pending_and_reports_only_what_is_not_on_the_disk(tmp_path: Path) -> None:
    ledger, spool = Ledger(tmp_path, "line-1", "cam-1", AT), opened(tmp_path / "spool")
    for _ in range(6):
        ledger.reserve()
    for sequence in (1, 2, 3, 4):
        spool.put(frame(sequence), Policy.DROP_OLDEST)
    for sequence in (0, 1):
        ledger.delivered(sequence)
    ledger.settle(AT)  # 1 is settled, its file not yet gone; 5 was in memory only
    shutil.copytree(tmp_path, tmp_path.with_name("killed"))
    ledger.close()
    spool.close()

    folder = tmp_path.with_name("killed")
    again = Spool(folder / "spool", size=MB, spare=0)
    ledger = Ledger(folder, "line-1", "cam-1", AT, again.open)
    again.retain(ledger.pending())
    assert [found and found.sequence for found in drained(again)] == [2, 3, 4]
    (event,) = ledger.hand_out(10)
    assert (event.first_sequence, event.last_sequence, event.reason) == (5, 5, DropReason.PRODUCER_CRASH)
    assert ledger.tally() == Tally(captured=6, delivered=2, dropped={DropReason.PRODUCER_CRASH: 1}, pending=3)
    assert ledger.reserve() == 6
    ledger.close()
    again.close()


class Spooling(RuleBasedStateMachine):
    """A spool against a plain list, through kills at any moment."""

    def __init__(self) -> None:
        super().__init__()
        import tempfile

        self.root = Path(tempfile.mkdtemp())
        self.lives = 0
        self.spool = opened(self.root / "0", size=8_000)
        self.next = 0
        self.waiting: list[int] = []
        self.under_way: list[int] = []

    @rule(size=st.integers(1, 3000), policy=st.sampled_from([Policy.DROP_OLDEST, Policy.DROP_NEWEST]))
    def put(self, size: int, policy: Policy) -> None:
        self.waiting.append(self.next)
        gone = self.spool.put(frame(self.next, size), policy)
        assert gone == self.waiting[: len(gone)] or gone == [self.next]
        self.waiting = [sequence for sequence in self.waiting if sequence not in gone]
        self.next += 1

    @precondition(lambda self: self.waiting)
    @rule()
    def send(self) -> None:
        sequence = self.waiting.pop(0)
        assert self.spool.first() == sequence
        found = self.spool.read(sequence)
        assert found
        assert found.jpeg[:1] == bytes([sequence % 256])
        self.spool.hand_out()
        self.under_way.append(sequence)

    @precondition(lambda self: self.under_way)
    @rule(data=st.data())
    def answer(self, data: st.DataObject) -> None:
        sequence = data.draw(st.sampled_from(self.under_way))
        self.under_way.remove(sequence)
        self.spool.settle(sequence)
        self.spool.forget(self.spool.settled())

    @rule(torn=st.integers(0, 200))
    def kill(self, torn: int) -> None:
        self.lives += 1
        folder = shutil.copytree(self.root / str(self.lives - 1), self.root / str(self.lives))
        self.spool.close()
        if segments := sorted(folder.iterdir()):
            with segments[-1].open("ab") as file:
                file.write(bytes([1]) * torn)
        self.spool = opened(folder, size=8_000)
        self.waiting = sorted(self.waiting + self.under_way)
        self.under_way = []
        self.spool.retain(set(self.waiting))

    @invariant()
    def agrees(self) -> None:
        assert self.spool.waiting == len(self.waiting)
        assert self.spool.size <= 8_000

    def teardown(self) -> None:
        self.spool.close()
        shutil.rmtree(self.root)


TestSpooling = Spooling.TestCase
TestSpooling.settings = settings(max_examples=20, stateful_step_count=20, deadline=None)
