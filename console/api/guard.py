"""The one mechanism that decides who may use a route.

Every route declares the role that it needs with `@needs(...)`, under the decorator that makes it a route.
`GuardedRoute` asks before it reads the body, and a route without a declared role cannot even be made; `require_roles`
refuses an application that has routes of any other kind.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Iterable
from enum import Enum
from http import HTTPStatus
from typing import Any, Final, TypeVar

from fastapi import FastAPI, Request, Response
from fastapi.routing import APIRoute, iter_route_contexts
from starlette.concurrency import run_in_threadpool
from starlette.types import Message

from console.api.audit import AuditTrail
from console.api.keys import ApiKeys
from console.api.problems import MEDIA_TYPE, Problem, ProblemBody
from console.api.roles import Principal, Role
from console.api.sessions import COOKIE, CSRF_HEADER, Sessions, csrf_matches
from console.api.throttle import Throttle
from sightline.errors import SettingsError

MAX_BODY_BYTES = 64 * 1024
"""Of a request, where a route does not say otherwise."""

_SAFE = frozenset({"GET", "HEAD", "OPTIONS"})
_DECLARED = "__sightline_needs__"
_CHALLENGE = {"WWW-Authenticate": 'Bearer realm="sightline"'}


class Public(Enum):
    """What a route declares that answers everyone."""

    EVERYONE = "everyone"


EVERYONE: Final = Public.EVERYONE
Needed = Role | Public
Endpoint = TypeVar("Endpoint", bound=Callable[..., Any])


def needs(needed: Needed) -> Callable[[Endpoint], Endpoint]:
    """Declare who may use a route."""

    def declare(endpoint: Endpoint) -> Endpoint:
        setattr(endpoint, _DECLARED, needed)
        return endpoint

    return declare


class Guard:
    """Finds out who asks, by key or by session, and whether that is enough."""

    def __init__(self, keys: ApiKeys, sessions: Sessions, audit: AuditTrail, requests_a_minute: int) -> None:
        self._keys = keys
        self._sessions = sessions
        self._audit = audit
        self._throttle = Throttle(requests_a_minute)

    def admit(self, request: Request, needed: Needed) -> Principal | None:
        """Who asks, None where everyone may; raises Problem 401, 403 or 429."""
        if needed is EVERYONE:
            return None
        principal = self._who(request)
        if (wait := self._throttle.take(principal.name)) is not None:
            raise too_many(wait, f"{principal.name} asks too often")
        if principal.kind == "user" and request.method not in _SAFE:
            self._require_own_page(request, principal)
        if not principal.role.covers(needed):
            self._audit.note(
                "denied", principal.name, ok=False, remote=remote(request), path=request.url.path, method=request.method
            )
            raise Problem(
                HTTPStatus.FORBIDDEN,
                "role",
                f"this needs the role {needed}, and {principal.name} has {principal.role}; ask an admin",
            )
        return principal

    def _who(self, request: Request) -> Principal:
        scheme, _, text = request.headers.get("authorization", "").partition(" ")
        if scheme:
            # a key that is shown counts, even where a session would have let it pass
            found = self._keys.verify(text.strip()) if scheme.lower() == "bearer" else None
            if found is None:
                raise _unknown("the key is unknown, revoked or expired; `sightline keys create` makes one")
            return found
        if cookie := request.cookies.get(COOKIE):
            if session := self._sessions.find(cookie):
                return session[0]
            raise _unknown("the session has ended; log in again")
        raise _unknown("log in at /v1/session, or send `Authorization: Bearer KEY`")

    @staticmethod
    def _require_own_page(request: Request, principal: Principal) -> None:
        if not csrf_matches(principal, request.headers.get(CSRF_HEADER)):
            raise Problem(
                HTTPStatus.FORBIDDEN,
                "csrf",
                f"what changes state needs the header {CSRF_HEADER} with the csrf token of this session; "
                "GET /v1/session tells it",
            )


class GuardedRoute(APIRoute):
    """A route that asks who is there before anything of the request is read."""

    def __init__(self, path: str, endpoint: Callable[..., Any], **options: Any) -> None:
        needed = getattr(endpoint, _DECLARED, None)
        if needed is None:
            raise SettingsError(f"route {path} does not declare the role that it needs; put @needs(...) under it")
        self.needed: Needed = needed
        # FastAPI's own limit would answer before anyone was asked who they are, and not with a problem
        self.max_bytes = options.pop("max_body_size", None) or MAX_BODY_BYTES
        options["openapi_extra"] = (options.get("openapi_extra") or {}) | _documented(needed)
        options["responses"] = _problems() | (options.get("responses") or {})
        super().__init__(path, endpoint, **options)

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        handle = super().get_route_handler()

        async def guarded(request: Request) -> Response:
            guard: Guard = request.app.state.services.guard
            request.state.principal = await run_in_threadpool(guard.admit, request, self.needed)
            _require_single(request)
            return await handle(_bounded(request, self.max_bytes))

        return guarded


def require_roles(app: FastAPI) -> None:
    """Raises SettingsError unless every route of `app` is guarded."""
    for path, route in routes(app):
        if not isinstance(route, GuardedRoute):
            raise SettingsError(
                f"{type(route).__name__} {path} declares no role; make it a route of a router with "
                "route_class=GuardedRoute"
            )


def routes(app: FastAPI) -> Iterable[tuple[str, Any]]:
    """Path and route of everything that `app` answers."""
    for context in iter_route_contexts(app.routes):
        yield context.path or "?", context.original_route


def principal(request: Request) -> Principal:
    """Who asks, in a route that needs a role."""
    found: Principal = request.state.principal
    return found


def remote(request: Request) -> str:
    """The address that the request came from."""
    return request.client.host if request.client else "?"


def too_many(wait: float, why: str) -> Problem:
    """429 with the seconds to wait."""
    return Problem(
        HTTPStatus.TOO_MANY_REQUESTS,
        "too-many-requests",
        f"{why}; try again in {wait:.0f} s",
        headers={"Retry-After": f"{wait:.0f}"},
    )


def _require_single(request: Request) -> None:
    """Raises Problem 422 for a parameter that is given twice: no route takes several, and one would be passed over."""
    names = [name for name, _ in request.query_params.multi_items()]
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise Problem(
            HTTPStatus.UNPROCESSABLE_ENTITY,
            "invalid-request",
            f"query.{twice[0]} is given twice; give it once",
        )


def _bounded(request: Request, most: int) -> Request:
    """`request`, whose body cannot be longer than `most` bytes: Problem 413 as soon as it is."""
    too_large = Problem(
        HTTPStatus.REQUEST_ENTITY_TOO_LARGE, "too-large", f"at most {most} bytes are taken here; send less at once"
    )
    announced = request.headers.get("content-length", "0")
    if not announced.isdecimal() or int(announced) > most:
        raise too_large
    read = 0

    async def receive() -> Message:
        nonlocal read
        message = await request.receive()
        read += len(message.get("body", b""))
        if read > most:
            raise too_large
        return message

    return Request(request.scope, receive)


def _unknown(why: str) -> Problem:
    return Problem(HTTPStatus.UNAUTHORIZED, "not-authenticated", why, headers=_CHALLENGE)


def _documented(needed: Needed) -> dict[str, Any]:
    security: list[dict[str, list[str]]] = [] if needed is EVERYONE else [{"key": []}, {"session": []}]
    return {"security": security, "x-sightline-role": needed.value}


def _problems() -> dict[int | str, dict[str, Any]]:
    statuses = (400, 401, 403, 404, 405, 409, 413, 415, 422, 429, 500, 503)
    schema = {"$ref": f"#/components/schemas/{ProblemBody.__name__}"}
    return {
        status: {"description": HTTPStatus(status).phrase, "content": {MEDIA_TYPE: {"schema": schema}}}
        for status in statuses
    }


SECURITY_SCHEMES: Final = {
    "key": {"type": "http", "scheme": "bearer", "description": "A key of `sightline keys create`"},
    "session": {
        "type": "apiKey",
        "in": "cookie",
        "name": COOKIE,
        "description": f"A session of POST /v1/session; what changes state needs the header {CSRF_HEADER} too",
    },
}
