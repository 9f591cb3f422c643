"""Retraining: begun, followed and ended."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from datetime import datetime
from http import HTTPStatus
from typing import Any, Literal

from fastapi import APIRouter, Request
from fastapi.sse import EventSourceResponse, ServerSentEvent
from pydantic import BaseModel, ConfigDict
from starlette.concurrency import run_in_threadpool

from console.api.guard import GuardedRoute, needs, remote
from console.api.problems import not_found
from console.api.retraining import Phase, Retrainings
from console.api.roles import Role
from console.api.routes.detectors import Product
from console.api.services import Here, Who
from console.api.shapes import Shape

router = APIRouter(prefix="/v1", tags=["retraining"], route_class=GuardedRoute)

_TICK_SECONDS = 1.0
_ADMITTED_SECONDS = 15.0


class Begin(BaseModel):
    """`propose` leaves a challenger that passes the gate for a person to promote; `promote` makes it champion."""

    model_config = ConfigDict(extra="forbid")

    policy: Literal["propose", "promote"] = "propose"
    force: bool = False
    if_drifted: bool = False


class Step(Shape):
    """`done` of `total` of the step that is under way."""

    step: str
    done: int
    total: int


class RetrainingState(BaseModel):
    """The retraining that runs, or the last one; `outcome` is what `sightline retrain --json` says."""

    product: str
    actor: str
    policy: str
    started_at: datetime
    ended_at: datetime | None
    phase: Phase
    progress: Step | None
    log: list[str]
    outcome: dict[str, Any] | None


@router.post("/detectors/{product}/retraining", status_code=HTTPStatus.ACCEPTED)
@needs(Role.ENGINEER)
def begin(product: Product, body: Begin, request: Request, here: Here, who: Who) -> RetrainingState:
    """Retrain the detector of a product from the line's history, in a process of its own; one at a time."""
    here.catalogue.entry(product, "champion")
    here.retrainings.start(product, who.name, policy=body.policy, force=body.force, if_drifted=body.if_drifted)
    here.audit.note("retraining", who.name, remote=remote(request), product=product, policy=body.policy)
    return _required(here.retrainings)


@router.get("/retraining")
@needs(Role.ENGINEER)
def state(here: Here) -> RetrainingState:
    """The retraining that runs, or the last one, with the last lines of its log."""
    return _required(here.retrainings)


@router.get("/retraining/stream", response_class=EventSourceResponse)
@needs(Role.ENGINEER)
async def stream(request: Request, here: Here) -> AsyncIterator[ServerSentEvent]:
    """Server-sent events named `state`, one for each change, until the retraining has ended."""
    admitted, last = time.monotonic(), None
    while True:
        found = await run_in_threadpool(told, here.retrainings)
        if found is not None and found != last:
            yield ServerSentEvent(event="state", raw_data=found.model_dump_json())
        if found is None or found.phase is not Phase.RUNNING:
            return
        last = found
        await asyncio.sleep(_TICK_SECONDS)
        if time.monotonic() - admitted > _ADMITTED_SECONDS:
            await run_in_threadpool(here.guard.admit, request, Role.ENGINEER)
            admitted = time.monotonic()


@router.delete("/retraining", status_code=HTTPStatus.ACCEPTED)
@needs(Role.ENGINEER)
def cancel(request: Request, here: Here, who: Who) -> RetrainingState:
    """End the retraining that runs; what it trained is thrown away."""
    ended = here.retrainings.cancel(who.name)
    here.audit.note("retraining-cancelled", who.name, remote=remote(request), product=ended.product)
    return _required(here.retrainings)


def told(retrainings: Retrainings) -> RetrainingState | None:
    """The one that runs, or the last; None where there never was one."""
    found = retrainings.last()
    if found is None:
        return None
    progress, lines = retrainings.told()
    return RetrainingState(
        product=found.product,
        actor=found.actor,
        policy=found.policy,
        started_at=found.started_at,
        ended_at=found.ended_at,
        phase=found.phase,
        progress=Step.model_validate(progress) if progress and found.phase is Phase.RUNNING else None,
        log=lines,
        outcome=None if found.phase is Phase.RUNNING else retrainings.outcome(),
    )


def _required(retrainings: Retrainings) -> RetrainingState:
    found = told(retrainings)
    if found is None:
        raise not_found("retraining", "last", "none was started here yet")
    return found
