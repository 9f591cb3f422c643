"""What the cameras of all lines do just now: the last verdict, picture and report of each, and what operators answered.

Bounded: two pictures and some heat maps a camera, `CAMERAS` cameras, `ANSWERED` alerts. Every method may be called from
any thread.
"""

from __future__ import annotations

import threading
from collections import OrderedDict, deque
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import msgspec

from sightline.contracts import ActionKind, CameraEvent, OperatorAction, SourceOffset, Verdict
from sightline.replays import LastSeen, is_stale, last_seen

CAMERAS = 1000
"""Cameras that are remembered; the one that was heard least recently goes."""
ANSWERED = 2000
"""Alerts whose last answer is remembered."""

_HEATS, _FEWEST, _MOST = 2400, 8, 48
"""Heat maps of all cameras, and of one: a picture comes up to some seconds after the verdict on it."""
_RATE_FRAMES = 48
_ANSWERS = frozenset({ActionKind.ACKNOWLEDGE, ActionKind.CONFIRM, ActionKind.FALSE_ALARM})
_SAID = _ANSWERS | {ActionKind.COMMENT}
_RANK = {Verdict.OK: 0, Verdict.REVIEW: 1, Verdict.DEFECT: 2}


class Seen(msgspec.Struct, frozen=True):
    """What of an inspection the wall needs; `heat_map` is as on the topic, undecoded."""

    inspection_id: str
    line: str
    camera: str
    sequence: int
    captured_at: datetime
    product: str
    score: float
    threshold: float
    verdict: Verdict
    heat_map: msgspec.Raw
    source: SourceOffset


@dataclass(frozen=True, slots=True, kw_only=True)
class Picture:
    """A frame made small. `verdict` and `heat_map` (JSON) are None until, or unless, the frame was judged."""

    camera: str
    sequence: int
    captured_at: datetime
    jpeg: bytes
    verdict: Verdict | None = None
    heat_map: bytes | None = None
    version: int = 0


Told = Seen | CameraEvent | OperatorAction


@dataclass(slots=True)
class _Camera:
    camera: str
    line: str
    product: str | None = None
    last: Seen | None = None
    place: LastSeen | None = None
    heard: float | None = None
    late: float = 0.0
    worst: tuple[float, Verdict] = (0.0, Verdict.OK)
    event: CameraEvent | None = None
    times: deque[float] = field(default_factory=lambda: deque(maxlen=_RATE_FRAMES))
    heats: OrderedDict[int, tuple[Verdict, bytes]] = field(default_factory=OrderedDict)
    waiting: Picture | None = None
    picture: Picture | None = None
    version: int = 0


class Floor:
    """The state, from what is told to it; `at` and all seconds are Unix time."""

    WORST_SECONDS = 3.0
    """How long a bad verdict is shown although better ones followed: nobody reads fifteen verdicts a second."""

    def __init__(self) -> None:
        self._cameras: OrderedDict[str, _Camera] = OrderedDict()
        self._answers: OrderedDict[str, OperatorAction] = OrderedDict()
        self._actions: deque[tuple[int, OperatorAction]] = deque(maxlen=500)
        self._version = 0
        self._lock = threading.Lock()

    def tell(self, told: Iterable[Told], at: float) -> None:
        """Take in what the topics brought at time `at`, in the order of each topic.

        Of a camera's reports the last told counts, whatever time it claims: its clock may have been set back. So may
        that of its frames: a verdict is passed over only where it is a replay (see `sightline.replays`), and even then
        the camera was heard.
        """
        with self._lock:
            for event in told:
                self._version += 1
                if isinstance(event, OperatorAction):
                    if event.kind in _SAID:
                        self._answer(event)
                elif isinstance(event, CameraEvent):
                    self._camera(event.camera, event.line).event = event
                else:
                    self._judged(self._camera(event.camera, event.line), event, at)

    def show(self, pictures: Iterable[Picture]) -> None:
        """Take in pictures; each is shown once its verdict is known."""
        with self._lock:
            for picture in pictures:
                camera = self._cameras.get(picture.camera)
                if camera is None:
                    continue
                known = camera.heats.get(picture.sequence)
                if known:
                    self._shown(camera, picture, *known)
                    continue
                if camera.heats and picture.sequence < next(iter(camera.heats)):
                    # its verdict came and went
                    self._shown(camera, picture, None, None)
                    continue
                if camera.waiting:
                    # not judged until now, such as a dead letter: better than an ever older picture
                    self._shown(camera, camera.waiting, None, None)
                camera.waiting = picture

    @property
    def version(self) -> int:
        """Grows with everything that is told."""
        return self._version

    def cameras(self, since: int, at: float) -> list[dict[str, Any]]:
        """Cameras that changed after version `since`, in the names of `static/wall.js`."""
        with self._lock:
            return [_row(camera, at) for camera in self._cameras.values() if camera.version > since]

    def names(self) -> list[str]:
        """Every camera that was heard of."""
        with self._lock:
            return list(self._cameras)

    def pictures(self, since: int) -> list[Picture]:
        """Pictures that are newer than version `since`."""
        with self._lock:
            found = [camera.picture for camera in self._cameras.values()]
        return [picture for picture in found if picture and picture.version > since]

    def answers(self) -> list[OperatorAction]:
        """The last answer to each alert that was answered lately; comments are none."""
        with self._lock:
            return list(self._answers.values())

    def actions(self, since: int) -> list[OperatorAction]:
        """What operators did after version `since`."""
        with self._lock:
            return [action for version, action in self._actions if version > since]

    def _camera(self, name: str, line: str) -> _Camera:
        camera = self._cameras.get(name)
        if camera is None:
            camera = self._cameras[name] = _Camera(name, line)
            if len(self._cameras) > CAMERAS:
                self._cameras.popitem(last=False)
        self._cameras.move_to_end(name)
        camera.line, camera.version = line, self._version
        return camera

    def _judged(self, camera: _Camera, seen: Seen, at: float) -> None:
        camera.heard = at
        if camera.place and is_stale(camera.place, seen):
            return
        captured = seen.captured_at.timestamp()
        camera.place = last_seen(seen, camera.place)
        camera.last, camera.product = seen, seen.product
        camera.late = max(0.0, at - captured)
        # no frame was captured after it came: one that says so would make its camera's beats decades long
        beat = min(captured, at)
        if camera.times and beat < camera.times[-1]:
            camera.times.clear()
        camera.times.append(beat)
        since, worst = camera.worst
        if _RANK[seen.verdict] >= _RANK[worst] or at - since > self.WORST_SECONDS:
            camera.worst = (at, seen.verdict)
        # a copy: the raw value would keep the whole record alive
        camera.heats[seen.sequence] = (seen.verdict, bytes(seen.heat_map))
        while len(camera.heats) > max(_FEWEST, min(_MOST, _HEATS // len(self._cameras))):
            camera.heats.popitem(last=False)
        if camera.waiting and camera.waiting.sequence == seen.sequence:
            self._shown(camera, camera.waiting, *camera.heats[seen.sequence])

    def _shown(self, camera: _Camera, picture: Picture, verdict: Verdict | None, heat_map: bytes | None) -> None:
        self._version += 1
        camera.waiting = None
        camera.picture = Picture(
            camera=picture.camera,
            sequence=picture.sequence,
            captured_at=picture.captured_at,
            jpeg=picture.jpeg,
            verdict=verdict,
            heat_map=heat_map,
            version=self._version,
        )

    def _answer(self, action: OperatorAction) -> None:
        self._actions.append((self._version, action))
        if action.kind not in _ANSWERS:
            return
        known = self._answers.get(action.alert_id)
        if known is None or action.at >= known.at:
            self._answers[action.alert_id] = action
            self._answers.move_to_end(action.alert_id)
            if len(self._answers) > ANSWERED:
                self._answers.popitem(last=False)


def _row(camera: _Camera, at: float) -> dict[str, Any]:
    last, event = camera.last, camera.event
    rate = _rate(camera.times)
    since, worst = camera.worst
    if last and at - since > Floor.WORST_SECONDS:
        worst = last.verdict
    return {
        "camera": camera.camera,
        "line": camera.line,
        "product": camera.product,
        "verdict": last and last.verdict.value,
        "worst": last and worst.value,
        "score": last and last.score,
        "threshold": last and last.threshold,
        "inspection": last and last.inspection_id,
        "captured": last and last.captured_at.timestamp(),
        "heard": camera.heard,
        "late": round(camera.late, 2),
        "rate": rate and round(rate, 1),
        # silent is what misses several of its own beats, and no camera is silent within five seconds
        "patience": max(5.0, 4 / rate) if rate else 5.0,
        "event": event and event.kind.value,
        "event_at": event and event.at.timestamp(),
        "said": event and event.message,
    }


def _rate(times: deque[float]) -> float | None:
    """Frames a second by the camera's clock, None where that cannot be told."""
    if len(times) < 2 or times[-1] <= times[0]:
        return None
    return (len(times) - 1) / (times[-1] - times[0])
