"""What a person typed into a page's filters, and what stands there when it cannot be answered."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime
from http import HTTPStatus
from math import isfinite
from typing import Any, Generic, NamedTuple, NoReturn, TypeVar

from fastapi import Request

from console.api import problems
from console.api.problems import Problem
from console.engineering.places import Known, Places
from console.engineering.selection import Selection, require_order
from sightline.codec import MAX_NAME
from sightline.contracts import Verdict
from sightline.errors import SightlineError

Answer = TypeVar("Answer")

_NAMES = ("line", "camera", "product", "defect_type", "detector_version")


class Shown(NamedTuple, Generic[Answer]):
    """An answer, or the sentence and the status that stand in its place."""

    answer: Answer | None
    fault: str | None
    status: int


def shown(request: Request, question: Callable[[], Answer]) -> Shown[Answer]:
    """The answer to `question`; what went wrong otherwise, so that the page keeps the filters that were typed."""
    try:
        return Shown(question(), None, HTTPStatus.OK)
    except Exception as error:
        answer = problems.answer(request, error)
        if answer.status_code == HTTPStatus.UNAUTHORIZED:
            raise
        detail: str = json.loads(bytes(answer.body))["detail"]
        return Shown(None, f"{detail[:1].upper()}{detail[1:]}.", answer.status_code)


def typed(request: Request) -> dict[str, str]:
    """The fields as they were sent, without empty ones: a form sends all of its fields."""
    return {name: value.strip() for name, value in request.query_params.items() if value.strip()}


def selection(fields: dict[str, str]) -> Selection:
    """What the fields select; raises Problem 422 naming the field that cannot be understood."""
    names = {name: fields[name] for name in _NAMES if name in fields}
    for name, value in names.items():
        if len(value) > MAX_NAME:
            _wrong(name, value[:40] + "…", f"a name of at most {MAX_NAME} characters")
    verdict = fields.get("verdict")
    if verdict is not None and verdict not in set(Verdict):
        _wrong("verdict", verdict, "ok, review or defect")
    since, until = moment(fields, "since"), moment(fields, "until")
    require_order(since, until)
    scores = {name: number(fields, name) for name in ("score_min", "score_max")}
    return Selection(since=since, until=until, verdict=verdict, **names, **scores)  # type: ignore[arg-type]


def moment(fields: dict[str, str], name: str) -> datetime | None:
    """A time, UTC where it names no zone; raises Problem 422 for anything else."""
    if (text := fields.get(name)) is None:
        return None
    try:
        found = datetime.fromisoformat(text)
    except ValueError:
        _wrong(name, text, "a date and time such as 2026-03-02T06:30")
    if not 1970 <= found.year <= 9000:
        _wrong(name, text, "a year from 1970 to 9000")
    return found.replace(tzinfo=UTC) if found.tzinfo is None else found.astimezone(UTC)


def number(fields: dict[str, str], name: str) -> float | None:
    """A finite number; raises Problem 422 for anything else."""
    if (text := fields.get(name)) is None:
        return None
    try:
        found = float(text)
    except ValueError:
        _wrong(name, text, "a number such as 0.62")
    return found if isfinite(found) else _wrong(name, text, "a number such as 0.62")


def places(request: Request) -> Known:
    """Names to choose from; none while the tables are away."""
    state: Any = request.app.state
    if not hasattr(state, "places"):
        state.places = Places()
    known: Places = state.places
    try:
        with state.services.histories.borrow() as history:
            return known.known(history)
    except (SightlineError, Problem):
        return Known()


def _wrong(name: str, value: str, expected: str) -> NoReturn:
    raise Problem(
        HTTPStatus.UNPROCESSABLE_ENTITY,
        "invalid-request",
        f"{name.replace('_', ' ')} is {value!r}; write {expected}",
    )
