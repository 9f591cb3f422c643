from __future__ import annotations

from pathlib import Path

import cv2
import pytest

from producers.doubles import ScriptedSource, frames
from producers.folder import ImageFolder
from producers.recorder import record
from producers.sources import Captured, SourceLostError, Unreadable, now
from sightline.errors import SourceError


def test_recorded_frames_can_be_read_back_in_order(tmp_path: Path) -> None:
    folder = tmp_path / "mine" / "train" / "good"
    script = [*frames(5), Unreadable(what="x", why="y", captured_at=now()), *frames(20)]
    assert record(ScriptedSource(script), folder, frames=8, every=2) == 8
    source = ImageFolder(folder)
    source.open()
    shots = list(iter(source.read, None))
    assert len(shots) == 8
    assert all(isinstance(shot, Captured) and shot.label == "good" for shot in shots)


def test_jpegs_are_recorded_untouched(tmp_path: Path) -> None:
    data = bytes(cv2.imencode(".jpg", frames(1)[0].picture)[1])  # type: ignore[call-overload]
    record(ScriptedSource([Captured(picture=data, captured_at=now())]), tmp_path / "good", frames=9)
    assert [path.read_bytes() for path in (tmp_path / "good").iterdir()] == [data]


def test_an_unfinished_recording_does_not_pass_for_a_whole_one(tmp_path: Path) -> None:
    with pytest.raises(SourceLostError):
        record(ScriptedSource([*frames(2), SourceLostError("cable")]), tmp_path / "good", frames=9)
    assert not (tmp_path / "good").exists()
    assert record(ScriptedSource(frames(2)), tmp_path / "good", frames=9) == 2


def test_nothing_is_overwritten_and_nothing_is_not_a_recording(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="exists"):
        record(ScriptedSource(frames(1)), tmp_path, frames=1)
    with pytest.raises(SourceError, match="no frame"):
        record(ScriptedSource([]), tmp_path / "good", frames=1)
