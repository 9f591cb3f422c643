"""Coming in and leaving: passwords, single sign-on, and the first admin."""

from __future__ import annotations

from http import HTTPStatus
from typing import Annotated

from fastapi import APIRouter, Query, Request, Response
from fastapi.responses import RedirectResponse
from pydantic import BaseModel, Field, SecretStr

from console.api import oidc
from console.api.guard import EVERYONE, GuardedRoute, needs, remote, too_many
from console.api.problems import Problem
from console.api.roles import Role
from console.api.services import Here, Services, Who
from console.api.sessions import COOKIE
from console.api.shapes import SessionInfo
from console.api.users import MAX_PASSWORD, User
from sightline.errors import AccessError

router = APIRouter(prefix="/v1", tags=["access"], route_class=GuardedRoute)

Name = Annotated[str, Field(min_length=1, max_length=100)]
Password = Annotated[SecretStr, Field(min_length=1, max_length=MAX_PASSWORD)]


class Login(BaseModel):
    """A local user's name and password."""

    name: Name
    password: Password


class FirstAdmin(Login):
    """`token` stands on the terminal of the process that was started without users."""

    token: Annotated[SecretStr, Field(min_length=1, max_length=100)]


@router.post("/session", status_code=HTTPStatus.CREATED)
@needs(EVERYONE)
def log_in(body: Login, request: Request, response: Response, here: Here) -> SessionInfo:
    """Log in with a password; the session comes as a cookie that scripts of a page cannot read."""
    _may_try(here, request, body.name)
    user = here.users.verify(body.name, body.password.get_secret_value())
    if user is None:
        here.audit.note("login", body.name, ok=False, remote=remote(request))
        raise Problem(HTTPStatus.UNAUTHORIZED, "login", "name or password is wrong, or the user is disabled")
    return _enter(here, user, request, response, "login")


@router.get("/session")
@needs(Role.VIEWER)
def session(request: Request, here: Here, who: Who) -> SessionInfo:
    """Who is logged in, and the token that changes need."""
    found = here.sessions.find(request.cookies.get(COOKIE, "")) if who.kind == "user" else None
    return SessionInfo(
        name=who.name, role=who.role, kind=who.kind, csrf=who.csrf, expires_at=found[1] if found else None
    )


@router.delete("/session", status_code=HTTPStatus.NO_CONTENT)
@needs(Role.VIEWER)
def log_out(request: Request, response: Response, here: Here, who: Who) -> None:
    """End this session; a copy of its cookie is worth nothing afterwards."""
    if who.session:
        here.sessions.end(who.session)
        here.audit.note("logout", who.name, remote=remote(request))
    response.delete_cookie(COOKIE, path="/")


@router.post("/setup", status_code=HTTPStatus.CREATED)
@needs(EVERYONE)
def set_up(body: FirstAdmin, request: Request, response: Response, here: Here) -> SessionInfo:
    """Make the first admin of a new deployment, with the token from the terminal; works once."""
    _may_try(here, request, "setup")
    if here.setup is None or here.users.list():
        raise Problem(HTTPStatus.CONFLICT, "setup", "there are users already; log in, or ask an admin")
    if not here.setup.matches(body.token.get_secret_value()):
        here.audit.note("setup", body.name, ok=False, remote=remote(request))
        raise Problem(HTTPStatus.FORBIDDEN, "setup", "this is not the token that the terminal shows")
    user = here.users.add_first(body.name, body.password.get_secret_value())
    return _enter(here, user, request, response, "setup")


@router.get("/oidc/login", response_class=RedirectResponse, status_code=HTTPStatus.FOUND)
@needs(EVERYONE)
def sign_on(here: Here, request: Request) -> RedirectResponse:
    """Go to the provider's page."""
    if here.sign_on is None:
        raise _no_provider()
    if (wait := here.addresses.take(remote(request))) is not None:
        raise too_many(wait, "too many tries from this address")
    url, cookie = here.sign_on.begin()
    answer = RedirectResponse(url, HTTPStatus.FOUND)
    # lax: the browser comes back from another site, and must bring this along
    answer.set_cookie(
        oidc.COOKIE,
        cookie,
        max_age=oidc.MINUTES * 60,
        httponly=True,
        samesite="lax",
        secure=here.settings.encrypted,
        path="/v1/oidc",
    )
    return answer


@router.get("/oidc/callback", response_class=RedirectResponse, status_code=HTTPStatus.FOUND)
@needs(EVERYONE)
def signed_on(
    request: Request, here: Here, state: Annotated[str, Query(min_length=1, max_length=200)]
) -> RedirectResponse:
    """Where the provider sends the browser back to."""
    if here.sign_on is None:
        raise _no_provider()
    identity = here.sign_on.finish(str(request.url), state, request.cookies.get(oidc.COOKIE, ""))
    try:
        user = here.users.sign_on(identity.name, identity.role)
    except AccessError as error:
        here.audit.note("sign-on", identity.name, ok=False, remote=remote(request))
        raise Problem(HTTPStatus.FORBIDDEN, "sign-on", str(error)) from error
    answer = RedirectResponse("/", HTTPStatus.FOUND)
    _enter(here, user, request, answer, "sign-on")
    answer.delete_cookie(oidc.COOKIE, path="/v1/oidc")
    return answer


def _may_try(here: Services, request: Request, name: str) -> None:
    where = remote(request)
    wait = here.addresses.take(where)
    if wait is None:
        wait = here.names.take(where, name.lower())
    if wait is not None:
        # not in the audit trail: whoever floods must not be able to fill the disk
        raise too_many(wait, "too many tries")


def _enter(here: Services, user: User, request: Request, response: Response, event: str) -> SessionInfo:
    begun = here.sessions.begin(user)
    here.audit.note(event, user.name, remote=remote(request), role=user.role)
    response.set_cookie(
        COOKIE,
        begun.cookie,
        max_age=int(here.settings.session_hours * 3600),
        httponly=True,
        samesite="lax" if event == "sign-on" else "strict",
        secure=here.settings.encrypted,
        path="/",
    )
    return SessionInfo(name=user.name, role=user.role, kind="user", csrf=begun.csrf, expires_at=begun.expires_at)


def _no_provider() -> Problem:
    return Problem(HTTPStatus.NOT_FOUND, "not-found", "single sign-on is not configured; [oidc] issuer turns it on")
