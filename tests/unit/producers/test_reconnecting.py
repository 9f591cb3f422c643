from __future__ import annotations

import threading

import pytest

from producers.doubles import ScriptedSource, Step, frames
from producers.reconnecting import Reconnecting
from producers.sources import Captured, SourceLostError
from sightline.contracts import CameraEventKind

CONNECTED, DISCONNECTED = CameraEventKind.CONNECTED, CameraEventKind.DISCONNECTED


class Listener:
    def __init__(self) -> None:
        self.told: list[tuple[CameraEventKind, str]] = []

    def __call__(self, kind: CameraEventKind, message: str) -> None:
        self.told.append((kind, message))


def reconnecting(
    script: list[Step], listener: Listener, *, refusals: int = 0, stopping: threading.Event | None = None
) -> tuple[Reconnecting, ScriptedSource]:
    source = ScriptedSource(script, refusals=refusals)
    return Reconnecting(source, longest=0.001, stopping=stopping or threading.Event(), report=listener), source


def test_a_lost_camera_is_tried_until_it_is_back_and_both_are_told_once() -> None:
    listener = Listener()
    before, after = frames(2)
    camera, source = reconnecting([before, SourceLostError("cable pulled"), after], listener, refusals=5)
    camera.open()
    assert [camera.read(), camera.read(), camera.read()] == [before, after, None]
    assert listener.told == [(CONNECTED, "scripted"), (DISCONNECTED, "cable pulled"), (CONNECTED, "scripted")]
    assert source.opened == 1 + 5 + 1


def test_a_camera_that_opens_but_gives_nothing_is_not_back() -> None:
    listener = Listener()
    (frame,) = frames(1)
    camera, _ = reconnecting(
        [SourceLostError("gone"), SourceLostError("mute"), SourceLostError("mute"), frame], listener
    )
    camera.open()
    assert camera.read() == frame
    assert [kind for kind, _ in listener.told] == [CONNECTED, DISCONNECTED, CONNECTED]


def test_pauses_grow_with_each_attempt(monkeypatch: pytest.MonkeyPatch) -> None:
    stopping = threading.Event()
    pauses: list[float] = []
    monkeypatch.setattr(stopping, "wait", lambda seconds: pauses.append(seconds) or False)
    source = ScriptedSource([SourceLostError("gone"), *frames(1)], refusals=12)
    camera = Reconnecting(source, longest=30, stopping=stopping, report=Listener())
    camera.open()
    assert isinstance(camera.read(), Captured)
    assert min(pauses) >= 0.5
    assert max(pauses) == 30
    assert all(later > earlier for earlier, later in zip(pauses[1:6], pauses[3:8], strict=True))


def test_a_stopping_producer_does_not_wait_for_a_camera() -> None:
    stopping = threading.Event()
    camera, source = reconnecting([SourceLostError("gone")], Listener(), refusals=10**9, stopping=stopping)
    camera.open()
    stopping.set()
    assert camera.read() is None
    assert source.opened == 1


def test_a_camera_that_is_away_from_the_start_is_told_at_once() -> None:
    source = ScriptedSource([])
    source.open = lambda: (_ for _ in ()).throw(SourceLostError("no camera at 0"))  # type: ignore[method-assign]
    listener = Listener()
    camera = Reconnecting(source, longest=1, stopping=threading.Event(), report=listener)
    with pytest.raises(SourceLostError, match="no camera at 0"):
        camera.open()
    camera.lost("no camera at 0")
    assert listener.told == [(DISCONNECTED, "no camera at 0")]
