"""Live cameras: on USB, and on the network through RTSP or HTTP."""

from __future__ import annotations

import re
import time
from typing import Any

from producers.opencv import cv2
from producers.sources import Captured, SourceLostError, now


class UsbCamera:
    """A camera of this machine by its index. Live: frames that are not read in time are lost.

    With `max_fps`, frames between two due ones are taken from the device and left undecoded, so that what is read is
    always fresh; they are not captured frames and get no sequence.
    """

    live = True
    fps = None

    def __init__(self, index: int, *, max_fps: float | None = None, product: str | None = None) -> None:
        self.index = index
        self.name = f"usb:{index}"
        self.product = product
        self._device = _Device(max_fps)

    def open(self) -> None:
        """Raises SourceLostError when no camera answers at the index."""
        self._device.start(cv2.VideoCapture(self.index))
        if not self._device.working:
            raise SourceLostError(
                f"no camera answers at index {self.index}; check that it is plugged in, that /dev/video{self.index} "
                "exists and may be read (group `video`), and that no other program holds it"
            )
        # the fewest that drivers grant: a longer queue only makes frames older
        self._device.set(cv2.CAP_PROP_BUFFERSIZE, 1)

    def read(self) -> Captured:
        """The newest due frame; raises SourceLostError after about 10 s without any."""
        return self._device.read(self.name)

    def close(self) -> None:
        self._device.stop()


class NetworkCamera:
    """A camera behind an `rtsp://`, `rtsps://`, `http://` or `https://` URL. Live: frames not read in time are lost.

    RTSP runs over TCP. Opening and each read give up after `timeout` seconds, so a camera that hangs is noticed.
    `max_fps` as for `UsbCamera`. User, password and query of the URL appear in no name, message or log.
    """

    live = True
    fps = None

    def __init__(
        self, url: str, *, timeout: float = 5.0, max_fps: float | None = None, product: str | None = None
    ) -> None:
        self.name = masked(url)
        self.product = product
        self._url = url
        self._timeout = timeout
        self._device = _Device(max_fps)

    def open(self) -> None:
        """Raises SourceLostError when the camera cannot be reached, refuses, or sends nothing that can be decoded."""
        milliseconds = int(self._timeout * 1000)
        limits = [
            cv2.CAP_PROP_OPEN_TIMEOUT_MSEC, milliseconds,
            cv2.CAP_PROP_READ_TIMEOUT_MSEC, milliseconds,
            cv2.CAP_PROP_N_THREADS, 1,
        ]  # fmt: skip
        self._device.start(cv2.VideoCapture(self._url, cv2.CAP_FFMPEG, limits))
        if not self._device.working:
            raise SourceLostError(
                f"{self.name} gives no stream within {self._timeout:g} s; check address, user and password, that the "
                "camera is on, and that another player can open it"
            )

    def read(self) -> Captured:
        """The newest due frame; raises SourceLostError when the stream ends, breaks, or pauses `timeout` seconds."""
        return self._device.read(self.name)

    def close(self) -> None:
        self._device.stop()


class _Device:
    """An OpenCV capture that may be thinned out to a pace."""

    def __init__(self, max_fps: float | None) -> None:
        self._interval = 1 / max_fps if max_fps else 0.0
        self._due: float | None = None
        self._capture: Any = None

    @property
    def working(self) -> bool:
        return self._capture is not None and bool(self._capture.isOpened())

    def start(self, capture: Any) -> None:
        self.stop()
        self._capture = capture
        self._due = None

    def set(self, key: int, value: float) -> None:
        self._capture.set(key, value)

    def read(self, name: str) -> Captured:
        while self.working and self._capture.grab():
            clock = time.monotonic()
            due = clock if self._due is None else self._due
            if clock < due:
                continue
            # the next is due one interval after this one was, or at once when the camera is the slower of the two
            self._due = max(due + self._interval, clock)
            captured_at = now()
            found, image = self._capture.retrieve()
            if found:
                return Captured(picture=image, captured_at=captured_at)
        raise SourceLostError(f"{name} stopped giving frames")

    def stop(self) -> None:
        if self._capture is not None:
            self._capture.release()
            self._capture = None


def masked(url: str) -> str:
    """`url` for people: without user, password and query, and without a path that may carry a password.

    Passwords may hold `/`, `?` and `#`, so everything up to the last `@` goes, even if some of the address goes too.
    """
    scheme, _, rest = url.partition("://")
    credentials, at, address = rest.rpartition("@")
    address = re.split(r"[?#]", address)[0]
    host, slash, path = address.partition("/")
    if re.search(r"pass|pwd|token|key|user", path, re.IGNORECASE):
        path = "***"
    return f"{scheme}://{'***' if credentials else ''}{at}{host}{slash}{path}"
