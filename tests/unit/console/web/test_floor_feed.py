"""Where the wall's pictures come from, and that nothing odd among them ends the others."""

from __future__ import annotations

import threading
from dataclasses import replace

import cv2
import numpy as np
import pytest

from console.web import floor_feed, floor_topics
from console.web.floor import Picture
from console.web.floor_feed import FloorFeed
from console.web.floor_topics import FrameTails, _small
from sightline import samples
from sightline.errors import BrokerError
from sightline.settings import KafkaSettings

PICTURE = bytes(cv2.imencode(".jpg", np.full((96, 128, 3), 90, np.uint8))[1].tobytes())
PATIENCE = 60.0


class Sources:
    """Opens sources of pictures; the first one fails with `error`, and no one's close goes well."""

    def __init__(self, error: Exception) -> None:
        self.error: Exception | None = error
        self.faults: list[str | None] = []
        self.shown = threading.Event()
        self.closed = 0
        self.feed = FloorFeed(lambda: None, lambda: self)

    def sample(self, cameras: int) -> list[Picture]:
        if self.error:
            error, self.error = self.error, None
            raise error
        self.faults.append(self.feed.pictures_fault)
        if len(self.faults) > 1:
            self.shown.set()
        return []

    def close(self) -> None:
        self.closed += 1
        raise OSError("the socket is gone")


@pytest.mark.parametrize(
    ("error", "told"), [(KeyError(6), "pictures cannot be read: KeyError(6)"), (BrokerError("away"), "away")]
)
def test_pictures_come_again_whatever_went_wrong_with_one(monkeypatch, error: Exception, told: str) -> None:
    monkeypatch.setattr(floor_feed, "PICTURE_SECONDS", 0.0)
    monkeypatch.setattr(floor_feed, "RETRY_SECONDS", 0.0)
    sources = Sources(error)
    monkeypatch.setattr(sources.feed, "_follow", lambda: None)
    sources.feed.watch(pictures=True)
    assert sources.shown.wait(PATIENCE)
    sources.feed.stop()
    # the fault is told until a look goes well, and the source that failed is let go
    assert sources.faults[:2] == [told, None]
    assert sources.closed == 2


def test_a_picture_of_a_kind_without_a_name_is_left_out() -> None:
    at = PICTURE.index(b"\xff\xc0") + 11
    odd = PICTURE[:at] + b"\x14" + PICTURE[at + 1 :]
    assert _small(replace(samples.frame(), jpeg=odd)) is None
    assert _small(replace(samples.frame(), jpeg=PICTURE)) is not None


def test_a_broker_that_leaves_between_connecting_and_the_first_question_is_named(monkeypatch) -> None:
    from kafka.errors import KafkaTimeoutError

    class Consumer:
        closed = False

        def partitions_for_topic(self, topic: str) -> None:
            raise KafkaTimeoutError

        def close(self, *, autocommit: bool) -> None:
            self.closed = True

    consumer = Consumer()
    monkeypatch.setattr(floor_topics, "open_consumer", lambda *_, **__: consumer)
    with pytest.raises(BrokerError, match="does not answer"):
        FrameTails(KafkaSettings(bootstrap="127.0.0.1:1"))
    assert consumer.closed
