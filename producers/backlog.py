"""The bounded queue between cameras that capture and the publisher that sends."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Container, Sequence
from enum import StrEnum

from sightline.contracts import Frame


class Policy(StrEnum):
    """What happens to a frame that finds its camera's queue full."""

    BLOCK = "block"
    """Capturing waits. Right for files; a live camera would fall behind."""
    DROP_OLDEST = "drop-oldest"
    """The frame that waited longest goes. Right for live cameras: what is sent stays fresh."""
    DROP_NEWEST = "drop-newest"
    """The new frame goes. Keeps what was seen first, such as the start of an incident."""


class Backlog:
    """Frames that wait to be sent, a queue for each camera, served in turn. Threads share it.

    A queue is full at `frames` frames or when another would exceed `size` bytes; it always takes one frame, whatever
    its size.
    """

    def __init__(self, cameras: Sequence[str], *, frames: int, size: int) -> None:
        self._queues: dict[str, deque[Frame]] = {camera: deque() for camera in cameras}
        self._bytes = dict.fromkeys(cameras, 0)
        self._turns = deque(cameras)
        self._frames = frames
        self._size = size
        self._closed = False
        self._changed = threading.Condition()

    def put(self, frame: Frame, policy: Policy) -> list[Frame]:
        """Add a frame; returns the frames that had to go for it, perhaps itself.

        Under `block` it waits for room; closing the backlog ends the wait and lets the frame in, so none is lost.
        """
        with self._changed:
            if policy is Policy.BLOCK:
                self._changed.wait_for(lambda: self._closed or self._has_room(frame))
            if policy is Policy.DROP_NEWEST and not self._has_room(frame):
                return [frame]
            dropped = []
            while policy is Policy.DROP_OLDEST and not self._has_room(frame):
                dropped.append(self._pop(frame.camera))
            self._queues[frame.camera].append(frame)
            self._bytes[frame.camera] += len(frame.jpeg)
            self._changed.notify_all()
            return dropped

    def take(self, timeout: float, passed_over: Container[str] = ()) -> Frame | None:
        """The next frame, cameras in turn; None when none came within `timeout` seconds or the backlog is finished.

        The queues of cameras that are `passed_over` stay as they are.
        """
        with self._changed:
            self._changed.wait_for(lambda: self._closed or any(self._queues.values()), timeout)
            for _ in range(len(self._turns)):
                camera = self._turns[0]
                self._turns.rotate(-1)
                if self._queues[camera] and camera not in passed_over:
                    frame = self._pop(camera)
                    self._changed.notify_all()
                    return frame
            return None

    def close(self) -> None:
        """No more frames are coming; those that wait are still given out."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()

    def waiting(self) -> dict[str, int]:
        """Frames that wait, by camera."""
        with self._changed:
            return {camera: len(queue) for camera, queue in self._queues.items()}

    @property
    def finished(self) -> bool:
        """Closed and empty."""
        with self._changed:
            return self._closed and not any(self._queues.values())

    def _has_room(self, frame: Frame) -> bool:
        queue = self._queues[frame.camera]
        return not queue or (len(queue) < self._frames and self._bytes[frame.camera] + len(frame.jpeg) <= self._size)

    def _pop(self, camera: str) -> Frame:
        frame = self._queues[camera].popleft()
        self._bytes[camera] -= len(frame.jpeg)
        return frame
