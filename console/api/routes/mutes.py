"""Mutes and maintenance windows: alerts that are recorded, shown as muted, and not sent out."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from http import HTTPStatus
from typing import Annotated

from fastapi import APIRouter, Header, Request, Response
from pydantic import BaseModel, ConfigDict, Field

from console.api.guard import GuardedRoute, needs, remote
from console.api.problems import Problem, not_found
from console.api.roles import Role
from console.api.routes.alerts import AGAIN, Key, Words, mute_info
from console.api.routes.asked import Id, Name, Time
from console.api.services import Here, Services, Who
from console.api.shapes import MuteInfo, Mutes
from console.api.store import now
from console.mutes import ending, setting
from sightline.contracts import ActionKind, Mute, OperatorAction, Severity
from sightline.errors import AccessError

router = APIRouter(prefix="/v1", tags=["mutes"], route_class=GuardedRoute)

IdempotencyKey = Annotated[Key | None, Header()]


class _Place(BaseModel):
    """Whose alerts are held back: `line` or `camera` at least."""

    model_config = ConfigDict(extra="forbid")

    line: Name | None = None
    camera: Name | None = None
    product: Name | None = None
    severity: Severity | None = None
    comment: Words | None = None


class NewMute(_Place):
    """From now on, for eight hours at most."""

    minutes: Annotated[int, Field(ge=1, le=480)]


class NewWindow(_Place):
    """A maintenance window, which ends within 14 days."""

    starts_at: Time | None = None
    ends_at: Time


@router.get("/mutes")
@needs(Role.VIEWER)
def mutes(here: Here) -> Mutes:
    """Mutes and maintenance windows that have not ended, the next to end first."""
    return Mutes(items=[mute_info(one) for one in here.mutes.book.standing(now())])


@router.post("/mutes", status_code=HTTPStatus.CREATED, responses={200: AGAIN | {"model": MuteInfo}})
@needs(Role.OPERATOR)
def mute(
    body: NewMute, request: Request, response: Response, here: Here, who: Who, idempotency_key: IdempotencyKey = None
) -> MuteInfo:
    """Hold back alerts from now on; it ends by itself. An event on `operator-actions`."""
    starts = now()
    scope = _scope(body, starts, starts + timedelta(minutes=body.minutes))
    return _set(here, ActionKind.MUTE, scope, body, who.name, idempotency_key, request, response)


@router.post("/maintenance-windows", status_code=HTTPStatus.CREATED, responses={200: AGAIN | {"model": MuteInfo}})
@needs(Role.ENGINEER)
def window(
    body: NewWindow, request: Request, response: Response, here: Here, who: Who, idempotency_key: IdempotencyKey = None
) -> MuteInfo:
    """Hold back alerts while a line is worked on; it ends by itself. An event on `operator-actions`."""
    scope = _scope(body, body.starts_at or now(), body.ends_at)
    return _set(here, ActionKind.MAINTENANCE, scope, body, who.name, idempotency_key, request, response)


@router.delete("/mutes/{mute_id}")
@needs(Role.OPERATOR)
def end_mute(mute_id: Id, request: Request, here: Here, who: Who) -> MuteInfo:
    """End a mute now."""
    return _end(here, mute_id, ActionKind.MUTE, who.name, request)


@router.delete("/maintenance-windows/{mute_id}")
@needs(Role.ENGINEER)
def end_window(mute_id: Id, request: Request, here: Here, who: Who) -> MuteInfo:
    """End a maintenance window now, also one that has not begun."""
    return _end(here, mute_id, ActionKind.MAINTENANCE, who.name, request)


def _scope(body: _Place, starts: datetime, ends: datetime) -> Mute:
    return Mute(
        starts_at=starts.astimezone(UTC),
        ends_at=ends.astimezone(UTC),
        line=body.line,
        camera=body.camera,
        product=body.product,
        severity=body.severity,
    )


def _set(
    here: Services,
    kind: ActionKind,
    scope: Mute,
    body: _Place,
    actor: str,
    key: str | None,
    request: Request,
    response: Response,
) -> MuteInfo:
    def make(action_id: str) -> OperatorAction:
        return setting(scope, kind, actor, body.comment, now(), action_id=action_id)

    try:
        action, fresh = here.actions.take(make, kind, body.model_dump_json(), actor=actor, idempotency_key=key)
    except AccessError as error:
        raise Problem(HTTPStatus.UNPROCESSABLE_ENTITY, "invalid-request", str(error)) from error
    here.mutes.book.apply(action)
    if fresh:
        until = scope.ends_at.isoformat()
        here.audit.note(kind.value, actor, remote=remote(request), mute=action.alert_id, until=until)
    else:
        response.status_code = HTTPStatus.OK
    found = here.mutes.book.find(action.alert_id)
    assert found is not None, "apply() has just taken it"
    return mute_info(found)


def _end(here: Services, mute_id: str, kind: ActionKind, actor: str, request: Request) -> MuteInfo:
    known = here.mutes.book.find(mute_id)
    if known is None or known.kind is not kind:
        raise not_found(
            "mute" if kind is ActionKind.MUTE else "maintenance window", mute_id, "GET /v1/mutes lists them"
        )
    if known.mute.ends_at <= now():
        return mute_info(known)
    action = ending(known, actor, now())
    here.actions.send(action)
    here.mutes.book.apply(action)
    here.audit.note("end-mute", actor, remote=remote(request), mute=mute_id)
    return mute_info(here.mutes.book.find(mute_id) or known)
