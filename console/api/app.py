"""The application: routes, guarded, with problems for errors."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from fastapi import APIRouter, FastAPI
from fastapi.openapi.utils import get_openapi
from starlette.datastructures import MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from console.api import problems
from console.api.guard import SECURITY_SCHEMES, require_roles
from console.api.problems import ProblemBody
from console.api.routes import (
    access,
    alerts,
    charts,
    detectors,
    exports,
    history,
    inspect,
    mutes,
    parts,
    retraining,
    system,
)
from console.api.services import Services
from sightline import __version__

ROUTERS = (
    system.router,
    access.router,
    history.router,
    parts.router,
    alerts.router,
    mutes.router,
    charts.router,
    exports.router,
    detectors.router,
    retraining.router,
    inspect.router,
)

_HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "X-Frame-Options": "DENY",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
    "Cache-Control": "no-store",
}


def create_app(services: Services, more: tuple[APIRouter, ...] = ()) -> FastAPI:
    """The application over `services`, with `more` routers beside those under /v1.

    Raises SettingsError for a route that does not declare the role that it needs.
    """

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        services.feed.start()
        services.mutes.start()
        yield
        services.close()

    # no page of FastAPI's own: they load scripts from elsewhere, and are not guarded
    app = FastAPI(
        title="Sightline",
        version=__version__,
        description=_DESCRIPTION,
        openapi_url=None,
        docs_url=None,
        redoc_url=None,
        lifespan=lifespan,
    )
    app.state.services = services
    for router in (*ROUTERS, *more):
        app.include_router(router)
    require_roles(app)
    problems.install(app)
    app.add_middleware(_Hardened)
    app.openapi = lambda: _document(app)  # type: ignore[method-assign]
    return app


class _Hardened:
    """Headers that keep a browser from doing more with an answer than it should; a route's own win."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def hardened(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in _HEADERS.items():
                    headers.setdefault(name, value)
            await send(message)

        await self._app(scope, receive, hardened if scope["type"] == "http" else send)


def _document(app: FastAPI) -> dict[str, Any]:
    if app.openapi_schema is None:
        found = get_openapi(
            title=app.title, version=app.version, description=app.description, routes=app.routes, tags=app.openapi_tags
        )
        parts = found.setdefault("components", {})
        parts["securitySchemes"] = SECURITY_SCHEMES
        schema = ProblemBody.model_json_schema(ref_template="#/components/schemas/{model}")
        parts["schemas"] |= schema.pop("$defs", {}) | {ProblemBody.__name__: schema}
        # errors are problems, never FastAPI's own shape
        for name in ("HTTPValidationError", "ValidationError"):
            parts["schemas"].pop(name, None)
        app.openapi_schema = found
    return app.openapi_schema


_DESCRIPTION = """Cameras, inspections, alerts, tables and detectors of one Sightline deployment.

Machines send `Authorization: Bearer KEY`; browsers log in at `/v1/session`. `x-sightline-role` names the role that a
route needs: viewer, operator, engineer or admin, each of which may do what the one before may. Every error is
`application/problem+json` (RFC 9457)."""
