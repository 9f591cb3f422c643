"""The wall: every camera with its last picture, verdict and health."""

from __future__ import annotations

from fastapi import APIRouter, Request
from fastapi.responses import HTMLResponse

from console.api.guard import needs
from console.api.roles import Role
from console.web.pages import PageRoute, page

router = APIRouter(route_class=PageRoute, include_in_schema=False)


@router.get("/", response_class=HTMLResponse)
@needs(Role.VIEWER)
def wall(request: Request) -> HTMLResponse:
    """All cameras; `static/wall.js` fills it from `/console/live` and `/console/pictures`."""
    return page(request, "wall.html.j2", "Wall")
