"""A video file as a source of frames."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from producers.opencv import cv2
from producers.sources import Captured, Unreadable, now
from sightline.errors import SourceError


class VideoFile:
    """The frames of a video file, once or looped. Replayable: nothing is lost by waiting.

    `fps` is the file's own pace once it is open. A file that ends well before the number of frames in its header gives
    one `Unreadable` for the missing rest, so that a damaged copy does not pass for a short film.
    """

    live = False

    def __init__(self, path: Path, *, loop: bool = False, product: str | None = None) -> None:
        self.path = path
        self.name = f"video:{path}"
        self.product = product or path.stem or None
        self.fps: float | None = None
        self._loop = loop
        self._video: Any = None
        self._read_this_round = 0
        self._expected = 0
        self._complained = False

    def open(self) -> None:
        """Raises SourceError when the file is missing or OpenCV cannot read it."""
        if not self.path.is_file():
            raise SourceError(f"video {str(self.path)!r} is not a file; name one that OpenCV can read (mp4, avi, mkv)")
        if not _is_text(str(self.path)):  # OpenCV crashes on it
            raise SourceError(f"the name of video {str(self.path)!r} is not valid text; rename the file")
        # one decoder thread: cameras already run side by side, and each further thread costs buffers
        video = cv2.VideoCapture(str(self.path), cv2.CAP_FFMPEG, [cv2.CAP_PROP_N_THREADS, 1])
        if not video.isOpened():
            raise SourceError(
                f"video {str(self.path)!r} cannot be read: it is damaged, cut off while it was written, or of an "
                "unknown format; convert it, for example with `ffmpeg -i FILE -c:v libx264 out.mp4`"
            )
        fps = float(video.get(cv2.CAP_PROP_FPS))
        self.fps = fps if 0 < fps < 1000 else None
        self._expected = int(video.get(cv2.CAP_PROP_FRAME_COUNT))
        self._read_this_round = 0
        self._complained = False
        self._video = video

    def read(self) -> Captured | Unreadable | None:
        """The next frame; raises SourceError when not a single one can be decoded."""
        found, image = self._video.read()
        if not found and not self._read_this_round:
            raise SourceError(f"video {str(self.path)!r} has no frame that can be decoded; convert or replace it")
        if not found and self._ends_early() and not self._complained:
            self._complained = True
            return Unreadable(
                what=str(self.path),
                why=f"it ends after frame {self._read_this_round} of {self._expected}: damaged or incomplete",
                captured_at=now(),
            )
        if not found and not self._loop:
            return None
        if not found:
            self._rewind()
            return self.read()
        self._read_this_round += 1
        return Captured(picture=image, captured_at=now())

    def close(self) -> None:
        if self._video is not None:
            self._video.release()
            self._video = None

    def _ends_early(self) -> bool:
        # the count in a header is an estimate for some formats: off by a few frames is normal
        return self._read_this_round < self._expected * 0.95 - 5

    def _rewind(self) -> None:
        complained = self._complained
        self.close()
        self.open()
        self._complained = complained


def _is_text(name: str) -> bool:
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return True
