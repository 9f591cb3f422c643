"""A broker that is away, and messages that nobody expected."""

from __future__ import annotations

import logging
import threading
from collections.abc import Sequence

import pytest

from console import following
from console.following import Contact, follow
from sightline.errors import BrokerError


class Replies:
    """A source that brings, or raises, one reply after the other."""

    def __init__(self, *replies: int | Exception) -> None:
        self._replies = list(replies)

    def poll(self, seconds: float) -> Sequence[int]:
        reply = self._replies.pop(0)
        if isinstance(reply, Exception):
            raise reply
        return [reply]

    def close(self) -> None:
        pass


def test_neither_a_broker_that_is_away_nor_an_odd_message_ends_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(following, "RETRY_SECONDS", 0.0)
    source, halt = Replies(1, BrokerError("away"), 2, 3, 4), threading.Event()
    taken: list[int] = []
    heard: list[str | None] = []

    def take(brought: Sequence[int]) -> None:
        taken.extend(brought)
        if taken[-1] == 2:
            raise ValueError("odd")
        if taken[-1] == 4:
            halt.set()

    follow(lambda: source, take, heard.append, halt, 0.0)
    assert taken == [1, 2, 3, 4]
    assert heard == [None, "away", None, "ValueError('odd')", None]


def test_each_loss_is_told_once_and_not_every_try(caplog: pytest.LogCaptureFixture) -> None:
    contact = Contact("alerts")
    assert contact.fault == "alerts have not been reached yet"
    with caplog.at_level(logging.INFO, "console.following"):
        for fault in ("away", "away", None, None, "away", "refused"):
            contact.told(fault)
    assert [record.__dict__["error"] for record in caplog.records] == ["away", "away", "refused"]
    assert {record.getMessage() for record in caplog.records} == {"no alerts until the broker is back"}
    assert contact.fault == "refused"
