"""Every error as problem+json (RFC 9457): what was wrong, with which value, and what to do."""

from __future__ import annotations

import logging
import secrets
from collections.abc import Mapping
from http import HTTPStatus
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from pydantic import BaseModel, Field
from starlette.exceptions import HTTPException

from sightline.errors import (
    AccessError,
    BrokerError,
    DetectorError,
    FrameError,
    PrerequisiteError,
    QueryError,
    RegistryError,
    SettingsError,
    SightlineError,
    TableError,
)

log = logging.getLogger(__name__)

MEDIA_TYPE = "application/problem+json"

# where several fit, the first counts
_STATUS: tuple[tuple[type[SightlineError], HTTPStatus], ...] = (
    (FrameError, HTTPStatus.UNPROCESSABLE_ENTITY),
    (AccessError, HTTPStatus.UNPROCESSABLE_ENTITY),
    (TableError, HTTPStatus.SERVICE_UNAVAILABLE),
    (QueryError, HTTPStatus.SERVICE_UNAVAILABLE),
    (RegistryError, HTTPStatus.SERVICE_UNAVAILABLE),
    (BrokerError, HTTPStatus.SERVICE_UNAVAILABLE),
    (DetectorError, HTTPStatus.SERVICE_UNAVAILABLE),
    (PrerequisiteError, HTTPStatus.SERVICE_UNAVAILABLE),
    (SettingsError, HTTPStatus.INTERNAL_SERVER_ERROR),
)
_SLUG: Mapping[type[SightlineError], str] = {
    TableError: "table-unavailable",
    QueryError: "table-unavailable",
    RegistryError: "registry-unavailable",
    BrokerError: "broker-unavailable",
    DetectorError: "detector-unavailable",
    PrerequisiteError: "machine",
    AccessError: "not-acceptable-input",
}


class FieldFault(BaseModel):
    """One wrong value of a request."""

    where: str = Field(description="Place and name, such as query.limit")
    message: str


class ProblemBody(BaseModel):
    """RFC 9457, with `errors` where several values are wrong and `reason` where a picture is refused."""

    type: str = Field(description="urn:sightline:problem: and a short slug")
    title: str
    status: int
    detail: str
    instance: str | None = None
    reason: str | None = None
    errors: list[FieldFault] | None = None


class Problem(HTTPException):
    """Raised by a route: `slug` ends the type's URN; `more` are further members of the body."""

    def __init__(
        self,
        status: HTTPStatus,
        slug: str,
        detail: str,
        *,
        headers: Mapping[str, str] | None = None,
        more: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__(status, detail, dict(headers or {}))
        self.slug = slug
        self.more = more or {}


def not_found(what: str, value: str, remedy: str) -> Problem:
    """404 that names what was asked for."""
    return Problem(HTTPStatus.NOT_FOUND, "not-found", f"there is no {what} {value!r}; {remedy}")


def reused_key(key: str) -> Problem:
    """409 for an Idempotency-Key that came with another request before."""
    return Problem(
        HTTPStatus.CONFLICT,
        "idempotency-key",
        f"the Idempotency-Key {key!r} was used for another action; send a new one for each action",
    )


def install(app: FastAPI) -> None:
    """Answer every error of `app` as a problem."""
    app.add_exception_handler(HTTPException, _of_http)
    app.add_exception_handler(RequestValidationError, _of_validation)
    app.add_exception_handler(SightlineError, _of_sightline)
    app.add_exception_handler(Exception, _of_fault)


def answer(request: Request, error: Exception) -> JSONResponse:
    """Any error as the response that it gets under /v1."""
    if isinstance(error, HTTPException):
        return _of_http(request, error)
    if isinstance(error, RequestValidationError):
        return _of_validation(request, error)
    if isinstance(error, SightlineError):
        return _of_sightline(request, error)
    return _of_fault(request, error)


def response(
    request: Request,
    status: int,
    slug: str,
    detail: str,
    *,
    headers: Mapping[str, str] | None = None,
    **more: Any,
) -> JSONResponse:
    """The problem as a response."""
    body = {
        "type": f"urn:sightline:problem:{slug}",
        "title": HTTPStatus(status).phrase,
        "status": int(status),
        "detail": detail,
        "instance": request.url.path,
    }
    return JSONResponse(body | more, status, dict(headers or {}), MEDIA_TYPE)


def _of_http(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, HTTPException)
    slug = error.slug if isinstance(error, Problem) else HTTPStatus(error.status_code).phrase.lower().replace(" ", "-")
    more = error.more if isinstance(error, Problem) else {}
    return response(request, error.status_code, slug, str(error.detail), headers=error.headers, **more)


def _of_validation(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, RequestValidationError)
    # the values are left out: one of them may be a password
    faults = [{"where": ".".join(map(str, one["loc"])), "message": str(one["msg"])} for one in error.errors()]
    detail = "; ".join(f"{fault['where']}: {fault['message']}" for fault in faults)
    return response(request, HTTPStatus.UNPROCESSABLE_ENTITY, "invalid-request", detail, errors=faults)


def _of_sightline(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, SightlineError)
    if isinstance(error, FrameError):
        return response(request, 422, "bad-picture", str(error), reason=str(error.reason))
    status = next((status for kind, status in _STATUS if isinstance(error, kind)), HTTPStatus.INTERNAL_SERVER_ERROR)
    if status >= 500:
        log.warning("request failed", extra={"path": request.url.path, "error": str(error)})
    headers = {"Retry-After": "5"} if status == HTTPStatus.SERVICE_UNAVAILABLE else None
    return response(request, status, _SLUG.get(type(error), "failed"), str(error), headers=headers)


def _of_fault(request: Request, error: Exception) -> JSONResponse:
    incident = secrets.token_hex(6)
    log.error("unexpected fault", extra={"incident": incident, "path": request.url.path}, exc_info=error)
    return response(
        request, 500, "fault", f"something went wrong that should not; the log has it under incident {incident}"
    )
