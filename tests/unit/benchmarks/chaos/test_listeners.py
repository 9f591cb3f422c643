"""The receiver of alerts that hangs on demand."""

from __future__ import annotations

import threading
import time
import urllib.request
from contextlib import closing

import msgspec
import pytest

from benchmarks.chaos.listeners import Receiver, _told


def post(url: str, name: str, timeout: float) -> int:
    request = urllib.request.Request(url, b"{}", {"webhook-id": name})
    with urllib.request.urlopen(request, timeout=timeout) as answer:
        return int(answer.status)


def test_it_hangs_until_it_is_released() -> None:
    with closing(Receiver()) as receiver:
        with pytest.raises(TimeoutError):
            post(receiver.url, "a.0", 0.3)
        waiting = threading.Thread(target=post, args=(receiver.url, "b.0", 30))
        waiting.start()
        while receiver.hung < 2:
            time.sleep(0.01)
        assert receiver.heard == set()
        receiver.release()
        waiting.join()
        assert post(receiver.url, "c.0", 30) == 204
        assert {"b.0", "c.0"} <= receiver.heard


@pytest.mark.parametrize(("state", "name"), [("opened", "x.2"), ("closed", "x.2"), ("updated", None)])
def test_what_a_receiver_is_told_of_goes_by_state(state: str, name: str | None) -> None:
    assert _told(msgspec.json.encode({"alert_id": "x", "revision": 2, "state": state})) == name


def test_a_tombstone_is_told_to_nobody() -> None:
    assert _told(None) is None
