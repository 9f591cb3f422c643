"""Keeps the floor up to date while somebody looks: one thread for the topics, one for pictures."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Protocol

from console.following import RETRY_SECONDS, Contact, Source, follow
from console.web.floor import Floor, Picture, Told
from sightline.errors import BrokerError
from sightline.settings import KafkaSettings

log = logging.getLogger(__name__)

PICTURE_SECONDS = 2.0
"""Between two looks at the cameras' pictures."""

_WATCHED_SECONDS = 10.0
"""How long after somebody asked for pictures they go on being fetched."""
_POLL_SECONDS = 0.2


class Cameras(Protocol):
    """Brings the newest pictures; raises BrokerError when it cannot."""

    def sample(self, cameras: int) -> Sequence[Picture]: ...
    def close(self) -> None: ...


class FloorFeed:
    """Begins when it is first watched. A broker that is away is waited for, and `fault` says why meanwhile."""

    def __init__(self, topics: Callable[[], Source[Told]], cameras: Callable[[], Cameras]) -> None:
        self.floor = Floor()
        self._contact = Contact("verdicts for the wall")
        self.pictures_fault: str | None = None
        self._topics = topics
        self._cameras = cameras
        self._halt = threading.Event()
        self._lock = threading.Lock()
        self._threads: list[threading.Thread] = []
        self._watched = -_WATCHED_SECONDS

    @classmethod
    def of(cls, kafka: KafkaSettings) -> FloorFeed:
        """The feed of a broker."""

        def topics() -> Source[Told]:
            from console.web.floor_topics import FloorTopics

            return FloorTopics(kafka)

        def cameras() -> Cameras:
            from console.web.floor_topics import FrameTails

            return FrameTails(kafka)

        return cls(topics, cameras)

    @property
    def fault(self) -> str | None:
        """Why nothing can come; None while it can."""
        return self._contact.fault

    def watch(self, *, pictures: bool = False) -> Floor:
        """The floor, kept up to date from now on; its pictures too for the next seconds, where they are asked for."""
        if pictures:
            self._watched = time.monotonic()
        with self._lock:
            if not self._threads and not self._halt.is_set():
                for name, run in (("floor", self._follow), ("floor-pictures", self._look)):
                    self._threads.append(threading.Thread(target=run, name=name, daemon=True))
                    self._threads[-1].start()
        return self.floor

    def stop(self) -> None:
        """End both threads."""
        self._halt.set()
        for thread in self._threads:
            thread.join()

    def _follow(self) -> None:
        follow(self._topics, self._tell, self._contact.told, self._halt, _POLL_SECONDS)

    def _tell(self, told: Sequence[Told]) -> None:
        self.floor.tell(told, time.time())

    def _look(self) -> None:
        source: Cameras | None = None
        while not self._halt.wait(0.2):
            if time.monotonic() - self._watched > _WATCHED_SECONDS:
                continue
            begun = time.monotonic()
            try:
                source = source or self._cameras()
                self.floor.show(source.sample(len(self.floor.names())))
                self.pictures_fault = None
            except Exception as error:  # noqa: BLE001 - whatever a picture or a client library raises is no end of all
                self._lost(error)
                _let_go(source)
                source = None
                self._halt.wait(RETRY_SECONDS)
            self._halt.wait(max(0.0, begun + PICTURE_SECONDS - time.monotonic()))
        _let_go(source)

    def _lost(self, error: Exception) -> None:
        known = isinstance(error, BrokerError)
        fault = str(error) if known else f"pictures cannot be read: {error!r}"
        if fault != self.pictures_fault:
            log.warning("no pictures for the wall", extra={"error": fault}, exc_info=None if known else error)
        self.pictures_fault = fault


def _let_go(source: Cameras | None) -> None:
    if source:
        # one that broke may not close either
        with suppress(Exception):
            source.close()
