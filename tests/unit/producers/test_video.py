from __future__ import annotations

from pathlib import Path

import cv2
import pytest

from producers.doubles import picture
from producers.sources import Captured, Unreadable
from producers.video import VideoFile
from sightline.errors import SourceError

FRAMES = 40


@pytest.fixture
def video(tmp_path: Path) -> Path:
    path = tmp_path / "belt.avi"
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"MJPG"), 12.5, (64, 48))
    for number in range(FRAMES):
        writer.write(picture(number))
    writer.release()
    return path


def read(source: VideoFile, most: int = 1000) -> list[Captured | Unreadable]:
    source.open()
    shots: list[Captured | Unreadable] = []
    while len(shots) < most and (shot := source.read()) is not None:
        shots.append(shot)
    source.close()
    return shots


def test_a_video_gives_its_frames_its_pace_and_an_end(video: Path) -> None:
    source = VideoFile(video)
    assert len(read(source)) == FRAMES
    assert source.fps == 12.5
    assert source.product == "belt"


def test_a_looped_video_begins_again(video: Path) -> None:
    shots = read(VideoFile(video, loop=True), most=FRAMES + 3)
    first, again = shots[0], shots[FRAMES]
    assert isinstance(first, Captured)
    assert isinstance(again, Captured)
    assert (first.picture == again.picture).all()  # type: ignore[union-attr]


def test_a_truncated_video_gives_what_it_has_and_tells_of_the_rest(video: Path) -> None:
    data = video.read_bytes()
    video.write_bytes(data[: len(data) // 2])
    *shots, last = read(VideoFile(video))
    assert 0 < len(shots) < FRAMES
    assert isinstance(last, Unreadable)
    assert f"of {FRAMES}" in last.why


def test_unreadable_videos_are_refused_by_name(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match=r"'nowhere\.mp4' is not a file"):
        VideoFile(Path("nowhere.mp4")).open()
    text = tmp_path / "text.mp4"
    text.write_text("no video")
    with pytest.raises(SourceError, match="cannot be read"):
        VideoFile(text).open()


def test_a_name_that_is_no_text_does_not_crash_the_process(video: Path) -> None:
    odd = video.rename(video.with_name("\udcff.avi"))
    with pytest.raises(SourceError, match="not valid text"):
        VideoFile(odd).open()


def test_a_real_video_is_read(shared_data: Path) -> None:
    source = VideoFile(shared_data / "bottles.mp4")
    shots = read(source, most=20)
    assert all(isinstance(shot, Captured) and shot.picture.shape == (360, 640, 3) for shot in shots)  # type: ignore[union-attr]
    assert source.fps == pytest.approx(29.83, abs=0.01)
