"""One part's way from capture to verdict and answer."""

from __future__ import annotations

from fastapi import APIRouter

from console.api.guard import GuardedRoute, needs
from console.api.roles import Role
from console.api.routes.asked import Id, Time
from console.api.services import Here
from console.engineering.parts import part
from console.engineering.shapes import Part

router = APIRouter(prefix="/v1", tags=["history"], route_class=GuardedRoute)


@router.get("/inspections/{inspection_id}/trace")
@needs(Role.VIEWER)
def trace(inspection_id: Id, here: Here, captured_at: Time | None = None) -> Part:
    """When each stage was done, the incident and what operators said, the frames beside it."""
    with here.histories.borrow("inspections") as history:
        return part(history, inspection_id, captured_at, here.actions)
