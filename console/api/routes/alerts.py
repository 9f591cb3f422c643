"""Alerts: the list, one of them, the live stream, and what operators do about them."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from datetime import datetime
from http import HTTPStatus
from typing import Annotated, Any, Literal

import msgspec
from fastapi import APIRouter, Header, Request, Response
from fastapi.sse import EventSourceResponse, ServerSentEvent
from pydantic import BaseModel, ConfigDict, Field, StringConstraints
from starlette.concurrency import run_in_threadpool

from console.api.actions import merged
from console.api.guard import GuardedRoute, needs, remote
from console.api.histories import records
from console.api.paging import Listing, page
from console.api.problems import Problem, not_found
from console.api.roles import Role
from console.api.routes.asked import Cursor, Id, Limit, Name, Time
from console.api.services import Here, Services, Who
from console.api.shapes import Action, AlertDetail, AlertSummary, MuteInfo, Mutes, Page
from console.api.store import now
from console.mutes import Standing
from console.tables import History
from sightline import codec
from sightline.codec import MAX_NAME
from sightline.contracts import ActionKind, Alert, AlertState, OperatorAction, Severity
from sightline.errors import QueryError, TableError

router = APIRouter(prefix="/v1", tags=["alerts"], route_class=GuardedRoute)

ADMITTED_SECONDS = 15.0
"""How long a stream goes on before the role of who listens is looked at again."""

_TICK_SECONDS = 1.0
_NARROW = (
    "alert_id, revision, state, severity, line, camera, product, opened_at, updated_at, first_sequence, last_sequence, "
    "count, peak_score, peak_sequence, threshold, detector, answer, answered_by"
)
_ANSWERED = """
(SELECT a.*, o.answer, o.answered_by FROM alerts a LEFT JOIN (
    SELECT alert_id, arg_max(kind, "at") AS answer, arg_max(actor, "at") AS answered_by
    FROM operator_actions WHERE kind <> 'comment' GROUP BY alert_id) o USING (alert_id))
"""
_UNANSWERED = "(SELECT *, NULL::VARCHAR AS answer, NULL::VARCHAR AS answered_by FROM alerts)"

Key = Annotated[str, StringConstraints(pattern=r"^[\x21-\x7e]{1,128}$")]
Words = Annotated[str, StringConstraints(min_length=1, max_length=2000, pattern=r"\S", strip_whitespace=True)]
AGAIN: dict[str, Any] = {"description": "The same request came before with this Idempotency-Key: what it did"}
DefectType = Annotated[str, StringConstraints(max_length=MAX_NAME, pattern=r"^[\p{L}\p{N}_.+-]+( [\p{L}\p{N}_.+-]+)*$")]


class _Answer(BaseModel):
    model_config = ConfigDict(extra="forbid")

    comment: Words | None = None


class Acknowledge(_Answer):
    """Someone looks after it."""

    kind: Literal["acknowledge"]


class Confirm(_Answer):
    """It is a defect, and of which type where that is known."""

    kind: Literal["confirm"]
    defect_type: DefectType | None = None


class FalseAlarm(_Answer):
    """The part is good."""

    kind: Literal["false-alarm"]


class Comment(_Answer):
    """Nothing but words."""

    kind: Literal["comment"]
    comment: Words


AlertAction = Annotated[Acknowledge | Confirm | FalseAlarm | Comment, Field(discriminator="kind")]


@router.get("/alerts")
@needs(Role.VIEWER)
def alerts(
    here: Here,
    state: AlertState | None = None,
    severity: Severity | None = None,
    line: Name | None = None,
    camera: Name | None = None,
    product: Name | None = None,
    since: Time | None = None,
    until: Time | None = None,
    limit: Limit = 50,
    cursor: Cursor | None = None,
) -> Page[AlertSummary]:
    """Incidents as of their last revision, the newest first, with the last answer that an operator gave."""
    filters = {
        "state": ("state = $state", state and state.value),
        "severity": ("severity = $severity", severity and severity.value),
        "line": ("line = $line", line),
        "camera": ("camera = $camera", camera),
        "product": ("product = $product", product),
    }
    with here.histories.borrow("alerts") as history:
        listing = Listing("alerts", _source(history), _NARROW, "opened_at", "alert_id")
        found = page(history, listing, filters, since=since, until=until, cursor=cursor, limit=limit)
    rows = [row | {"muted_until": _muted_until(here, row)} for row in found.rows]
    return Page(items=[AlertSummary.model_validate(row) for row in rows], next=found.next)


@router.get("/alerts/stream", response_class=EventSourceResponse)
@needs(Role.VIEWER)
async def stream(request: Request, here: Here) -> AsyncIterator[ServerSentEvent]:
    """Alerts as they happen, as server-sent events.

    First the incidents that are open, oldest first, then every change. The event is named `opened`, `updated` or
    `closed`; its data is the alert as on the topic (docs/schemas/alert.json). An event `status` tells when the topic
    cannot be read and when it can again, in `fault`; an event `mutes` which mutes and maintenance windows have not
    ended, as GET /v1/mutes does, whenever one is set or ended.
    """
    admitted, fault, changes = time.monotonic(), object(), -1
    async with here.feed.listen() as (still_open, queue):
        for alert in still_open:
            yield _event(alert)
        while True:
            if here.feed.fault != fault:
                fault = here.feed.fault
                yield ServerSentEvent(event="status", data={"fault": fault})
            if (known := here.mutes.book.changes) != changes:
                changes = known
                yield ServerSentEvent(event="mutes", raw_data=_standing(here).model_dump_json())
            try:
                changed = await asyncio.wait_for(queue.get(), _TICK_SECONDS)
            except TimeoutError:
                pass
            else:
                if changed is None:
                    return
                yield _event(changed)
            if time.monotonic() - admitted > ADMITTED_SECONDS:
                await run_in_threadpool(here.guard.admit, request, Role.VIEWER)
                admitted = time.monotonic()


@router.get("/alerts/{alert_id}")
@needs(Role.VIEWER)
def alert(alert_id: Id, here: Here) -> AlertDetail:
    """One incident with its picture and everything that operators said of it, as of the newest revision known here."""
    known = here.feed.latest(alert_id)
    found: dict[str, Any] | None = None
    said: list[dict[str, Any]] = []
    try:
        with here.histories.borrow("alerts") as history:
            rows = records(history, f"SELECT * FROM {_source(history)} WHERE alert_id = $id", {"id": alert_id})
            found = next(iter(rows), None)
            said = _said(history, alert_id)
    except (TableError, QueryError):
        # what is on the topic can be looked at and answered while the tables are away
        if known is None:
            raise
    if known and (found is None or known.revision > found["revision"]):
        found = (found or {}) | msgspec.to_builtins(known, builtin_types=(bytes, datetime))
    if found is None:
        raise _unknown(alert_id)
    actions = [Action.model_validate(row) for row in merged(said, here.actions.recent(alert_id))]
    answers = [action for action in actions if action.kind is not ActionKind.COMMENT]
    answered = {"answer": answers[-1].kind, "answered_by": answers[-1].actor} if answers else {}
    muted = {"muted_until": _muted_until(here, found)}
    return AlertDetail.model_validate(found | answered | muted | {"actions": actions})


@router.get(
    "/alerts/{alert_id}/thumbnail",
    response_class=Response,
    responses={200: {"content": {"image/jpeg": {}}, "description": "The frame of the peak under its heat map"}},
)
@needs(Role.VIEWER)
def thumbnail(alert_id: Id, here: Here) -> Response:
    """The frame of the peak under its heat map."""
    known = here.feed.latest(alert_id)
    picture = known.thumbnail if known else None
    if picture is None:
        with here.histories.borrow("alerts") as history:
            found = records(history, "SELECT thumbnail FROM alerts WHERE alert_id = $id", {"id": alert_id})
        picture = found[0]["thumbnail"] if found else None
    if picture is None:
        raise not_found("picture of alert", alert_id, "it may be too new, or have none")
    return Response(picture, media_type="image/jpeg")


@router.post("/alerts/{alert_id}/actions", status_code=HTTPStatus.CREATED, responses={200: AGAIN | {"model": Action}})
@needs(Role.OPERATOR)
def act(
    alert_id: Id,
    body: AlertAction,
    request: Request,
    response: Response,
    here: Here,
    who: Who,
    idempotency_key: Annotated[Key | None, Header()] = None,
) -> Action:
    """Acknowledge, confirm, call a false alarm, or comment: an event on `operator-actions`, never a change in place.

    With the header `Idempotency-Key` the same request may be sent again: the first answer comes back, with status 200.
    """
    state = _state(here, alert_id)
    if state is AlertState.CLOSED and isinstance(body, Acknowledge):
        raise Problem(
            HTTPStatus.CONFLICT,
            "alert-closed",
            "this incident is over, so there is nothing to acknowledge; confirm, false-alarm and comment still count",
        )

    def make(action_id: str) -> OperatorAction:
        return OperatorAction(
            action_id=action_id,
            alert_id=alert_id,
            kind=ActionKind(body.kind),
            actor=who.name,
            at=now(),
            defect_type=body.defect_type if isinstance(body, Confirm) else None,
            comment=body.comment,
        )

    action, fresh = here.actions.take(
        make, alert_id, body.model_dump_json(), actor=who.name, idempotency_key=idempotency_key
    )
    if fresh:
        here.audit.note(
            "action", who.name, remote=remote(request), alert=alert_id, kind=body.kind, action=action.action_id
        )
    else:
        response.status_code = HTTPStatus.OK
    return Action.model_validate(action)


def _state(here: Services, alert_id: str) -> AlertState:
    """Of an incident that the feed or the table knows; raises Problem 404, or TableError where neither can tell."""
    if known := here.feed.latest(alert_id):
        return known.state
    with here.histories.borrow("alerts") as history:
        found = records(history, "SELECT state FROM alerts WHERE alert_id = $id", {"id": alert_id})
    if not found:
        raise _unknown(alert_id)
    return AlertState(found[0]["state"])


def mute_info(one: Standing) -> MuteInfo:
    """A mute as the API shows it."""
    return MuteInfo(
        mute_id=one.mute_id,
        kind=one.kind,
        actor=one.actor,
        set_at=one.set_at,
        starts_at=one.mute.starts_at,
        ends_at=one.mute.ends_at,
        line=one.mute.line,
        camera=one.mute.camera,
        product=one.mute.product,
        severity=one.mute.severity,
        comment=one.comment,
        ended_by=one.ended_by,
    )


def _muted_until(here: Services, row: dict[str, Any]) -> datetime | None:
    by = here.mutes.book.muting(
        line=row["line"],
        camera=row["camera"],
        product=row["product"],
        severity=Severity(row["severity"]),
        at=row["updated_at"],
    )
    return by.mute.ends_at if by else None


def _standing(here: Services) -> Mutes:
    return Mutes(items=[mute_info(one) for one in here.mutes.book.standing(now())])


def _source(history: History) -> str:
    return _ANSWERED if "operator_actions" in history.tables else _UNANSWERED


def _said(history: History, alert_id: str) -> list[dict[str, Any]]:
    if "operator_actions" not in history.tables:
        return []
    return records(history, "SELECT * FROM operator_actions WHERE alert_id = $id", {"id": alert_id})


def _event(alert: Alert) -> ServerSentEvent:
    return ServerSentEvent(
        event=alert.state.value, id=f"{alert.alert_id}:{alert.revision}", raw_data=codec.encode(alert).decode()
    )


def _unknown(alert_id: str) -> Problem:
    return not_found("alert", alert_id, "GET /v1/alerts lists them; one of the last seconds may not be stored yet")
