"""How a page is made: its layout, its links by role, and what a person sees instead of a problem."""

from __future__ import annotations

import json
from collections.abc import Callable, Coroutine
from functools import cache
from http import HTTPStatus
from typing import Any, NamedTuple
from urllib.parse import quote

from fastapi import Request, Response
from fastapi.responses import HTMLResponse, RedirectResponse
from jinja2 import Environment, PackageLoader, StrictUndefined

from console.api import problems
from console.api.guard import GuardedRoute
from console.api.roles import Principal, Role
from console.web.assets import asset
from sightline import __version__

POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; font-src 'self'; "
    "form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)
"""What a page may load: its own scripts, styles, pictures and connections, and nothing inline."""


class Link(NamedTuple):
    """An entry of the navigation, for those whose role covers `needed`."""

    path: str
    title: str
    icon: str
    needed: Role


NAVIGATION = (
    Link("/", "Wall", "wall", Role.VIEWER),
    Link("/alerts", "Alerts", "alert", Role.VIEWER),
    Link("/history", "History", "history", Role.VIEWER),
    Link("/quality", "Quality", "chart", Role.VIEWER),
    Link("/detectors", "Detectors", "detector", Role.VIEWER),
)
"""From left to right."""


class PageRoute(GuardedRoute):
    """A guarded route whose errors are pages; who is not logged in goes to `/login` and comes back from there."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        handle = super().get_route_handler()

        async def shown(request: Request) -> Response:
            try:
                return await handle(request)
            except Exception as error:  # noqa: BLE001 - what is not expected is logged, and the person gets a sentence
                return _instead(request, problems.answer(request, error))

        return shown


def page(request: Request, template: str, title: str, *, status: int = HTTPStatus.OK, **context: Any) -> HTMLResponse:
    """The page of `template` with `context`; it also knows `who` (None on pages for everyone), `links` and `title`."""
    who: Principal | None = getattr(request.state, "principal", None)
    links = [link for link in NAVIGATION if who and who.role.covers(link.needed)]
    at = request.url.path
    here = max((link.path for link in links if _below(at, link.path)), key=len, default="")
    text = (
        _environment()
        .get_template(template)
        .render(title=title, who=who, links=links, here=here, version=__version__, **context)
    )
    return HTMLResponse(text, status, {"Content-Security-Policy": POLICY})


def login_address(request: Request) -> str:
    """Where to log in, and come back to what was asked for."""
    wanted = request.url.path + (f"?{request.url.query}" if request.url.query else "")
    return "/login" if wanted == "/" else f"/login?next={quote(wanted, safe='/')}"


def _instead(request: Request, answer: Response) -> Response:
    if answer.status_code == HTTPStatus.UNAUTHORIZED:
        return RedirectResponse(login_address(request), HTTPStatus.SEE_OTHER)
    problem = json.loads(bytes(answer.body))
    shown = page(request, "problem.html.j2", problem["title"], status=answer.status_code, detail=problem["detail"])
    if wait := answer.headers.get("retry-after"):
        shown.headers["Retry-After"] = wait
    return shown


def _below(path: str, link: str) -> bool:
    return path == link or (link != "/" and path.startswith(link + "/"))


@cache
def _environment() -> Environment:
    environment = Environment(
        loader=PackageLoader("console.web"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.globals.update(asset=asset, roles={role.value: role for role in Role})
    return environment
