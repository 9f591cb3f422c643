"""Logging in, and the first admin; the work is done by `/v1/session` and `/v1/setup`."""

from __future__ import annotations

from http import HTTPStatus
from typing import Annotated

from fastapi import APIRouter, Query, Request, Response
from fastapi.responses import HTMLResponse, RedirectResponse

from console.api.guard import EVERYONE, needs
from console.api.services import Here
from console.api.sessions import COOKIE
from console.api.users import MAX_PASSWORD, MIN_PASSWORD
from console.web.pages import PageRoute, page

router = APIRouter(route_class=PageRoute, include_in_schema=False)


@router.get("/login", response_class=HTMLResponse)
@needs(EVERYONE)
def login(request: Request, here: Here, next: Annotated[str, Query(max_length=2000)] = "/") -> Response:
    """Name and password, or single sign-on; the first start goes to `/setup`."""
    if here.setup and not here.users.list():
        return RedirectResponse("/setup", HTTPStatus.SEE_OTHER)
    wanted = next if _ours(next) else "/"
    if here.sessions.find(request.cookies.get(COOKIE, "")):
        return RedirectResponse(wanted, HTTPStatus.SEE_OTHER)
    ended = COOKIE in request.cookies
    return page(request, "login.html.j2", "Log in", wanted=wanted, single=here.sign_on is not None, ended=ended)


@router.get("/setup", response_class=HTMLResponse)
@needs(EVERYONE)
def setup(request: Request, here: Here) -> Response:
    """Make the first admin, with the token from the terminal."""
    if not here.setup or here.users.list():
        return RedirectResponse("/login", HTTPStatus.SEE_OTHER)
    return page(request, "setup.html.j2", "First start", shortest=MIN_PASSWORD, longest=MAX_PASSWORD)


def _ours(address: str) -> bool:
    """Whether `address` is a path of this server: browsers read `//host` and `/\\host` as another one."""
    return address.startswith("/") and address[1:2] not in ("/", "\\") and address.isprintable()
