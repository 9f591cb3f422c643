"""What pages are pushed: alerts and answers as they happen, the cameras' state twice a second, never a frame each."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from http import HTTPStatus
from typing import Any

import msgspec
from fastapi import APIRouter, Request, Response
from fastapi.sse import EventSourceResponse, ServerSentEvent
from starlette.concurrency import run_in_threadpool

from console.api.guard import GuardedRoute, needs
from console.api.problems import Problem
from console.api.roles import Role
from console.api.routes.alerts import ADMITTED_SECONDS
from console.api.services import Here
from console.web.floor import Picture
from console.web.floor_feed import FloorFeed
from sightline.contracts import Alert, OperatorAction

router = APIRouter(prefix="/console", route_class=GuardedRoute, include_in_schema=False)

TICK_SECONDS = 0.5
"""Between two states of the cameras."""
BEAT_SECONDS = 2.0
"""The longest silence of the stream, by which a page knows that it is alive."""

_WAKE_SECONDS = 0.2


def floor_feed(request: Request) -> FloorFeed:
    """The feed of the application that answers; raises Problem 503 where it was built without one."""
    found: FloorFeed | None = getattr(request.app.state, "floor_feed", None)
    if found is None:
        raise Problem(HTTPStatus.SERVICE_UNAVAILABLE, "no-floor", "this process does not follow the cameras")
    return found


@router.get("/live", response_class=EventSourceResponse)
@needs(Role.VIEWER)
async def live(request: Request, here: Here, cameras: bool = False) -> AsyncIterator[ServerSentEvent]:
    """Events `alerts`, `actions`, with `cameras` also `cameras`, and `beat` with the server's time and its faults."""
    feed = floor_feed(request)
    floor = feed.watch()
    loop = asyncio.get_running_loop()
    admitted = loop.time()
    seen = 0
    beat: tuple[float, Any] = (-1.0, None)
    ticked = -1.0
    async with here.feed.listen() as (still_open, queue):
        yield _event("alerts", [brief(alert) for alert in still_open])
        # read before what it counts: what comes in between is told twice rather than never
        heard = floor.version
        yield _event("actions", [_action(action) for action in floor.answers()])
        while True:
            faults = {"alerts": here.feed.fault, "cameras": feed.fault, "pictures": feed.pictures_fault}
            if loop.time() - beat[0] >= BEAT_SECONDS or faults != beat[1]:
                beat = (loop.time(), faults)
                yield _event("beat", {"now": time.time(), "faults": faults})
            version = floor.version
            if actions := floor.actions(heard):
                yield _event("actions", [_action(action) for action in actions])
            heard = version
            if cameras and loop.time() - ticked >= TICK_SECONDS:
                ticked, now = loop.time(), time.time()
                if rows := floor.cameras(seen, now):
                    yield _event("cameras", {"now": now, "items": rows})
                seen = version
            if loop.time() - admitted > ADMITTED_SECONDS:
                await run_in_threadpool(here.guard.admit, request, Role.VIEWER)
                admitted = loop.time()
            try:
                changed = await asyncio.wait_for(queue.get(), _WAKE_SECONDS)
            except TimeoutError:
                continue
            if changed is None:
                return
            yield _event("alerts", [brief(changed)])


@router.get("/pictures", response_class=Response)
@needs(Role.VIEWER)
def pictures(request: Request, since: int = 0) -> Response:
    """Small pictures newer than version `since`: the length of a JSON header in 4 bytes, the header, the JPEGs."""
    found = floor_feed(request).watch(pictures=True).pictures(since)
    header = msgspec.json.encode(
        {
            "version": max((picture.version for picture in found), default=since),
            "items": [_about(picture) for picture in found],
        }
    )
    body = b"".join([len(header).to_bytes(4, "big"), header, *(picture.jpeg for picture in found)])
    return Response(body, media_type="application/octet-stream")


def brief(alert: Alert) -> dict[str, Any]:
    """An alert without its picture, as JSON values."""
    fields: dict[str, Any] = msgspec.to_builtins(alert)
    return fields | {"thumbnail": alert.thumbnail is not None}


def _action(action: OperatorAction) -> dict[str, Any]:
    fields: dict[str, Any] = msgspec.to_builtins(action)
    return fields


def _about(picture: Picture) -> dict[str, Any]:
    return {
        "camera": picture.camera,
        "sequence": picture.sequence,
        "captured": picture.captured_at.timestamp(),
        "verdict": picture.verdict,
        "heat": picture.heat_map and msgspec.Raw(picture.heat_map),
        "size": len(picture.jpeg),
    }


def _event(name: str, data: Any) -> ServerSentEvent:
    return ServerSentEvent(event=name, raw_data=msgspec.json.encode(data).decode())
