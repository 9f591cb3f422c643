"""The receiver of alerts that hangs on demand."""

from __future__ import annotations

import threading
import time
import urllib.request
from contextlib import closing

import msgspec
import pytest

from benchmarks.chaos.listeners import Receiver, _due


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


def alert(name: str, state: str, revision: int = 0) -> bytes:
    return msgspec.json.encode({"alert_id": name, "revision": revision, "state": state})


def test_a_receiver_is_due_what_opened_and_its_end() -> None:
    told = [alert("x", "opened"), alert("x", "updated", 1), alert("x", "closed", 2), alert("y", "opened")]
    assert _due(told) == {"x.0", "x.2", "y.0"}


def test_the_end_of_what_opened_before_it_listened_is_not_due() -> None:
    assert _due([alert("x", "updated", 3), alert("x", "closed", 4)]) == set()
