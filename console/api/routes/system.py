"""Health, the OpenAPI document and the audit trail."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Query, Request, Response

from console.api.guard import EVERYONE, GuardedRoute, needs
from console.api.roles import Role
from console.api.services import Here, Services
from console.api.shapes import Audited, AuditPage, Health
from sightline.errors import RegistryError, SightlineError

router = APIRouter(prefix="/v1", tags=["system"], route_class=GuardedRoute)


@router.get("/health/live")
@needs(EVERYONE)
async def live() -> Health:
    """Whether the process answers."""
    return Health(status="ok")


@router.get("/health/ready")
@needs(EVERYONE)
def ready(here: Here, response: Response) -> Health:
    """Whether history can be read and users can come in: 503 when not. The other parts may be away."""
    faults = {"tables": _tables(here)}
    if any(faults.values()):
        response.status_code = 503
        response.headers["Retry-After"] = "5"
    # addresses and folders are nobody's business who has not logged in
    return Health(status="unavailable" if any(faults.values()) else "ok")


@router.get("/health")
@needs(Role.VIEWER)
def health(here: Here) -> Health:
    """Every part that this process needs, and what is wrong with it."""
    faults = {"tables": _tables(here), "alerts": here.feed.fault, "registry": _registry(here)}
    return Health(status="degraded" if any(faults.values()) else "ok", parts=faults)


@router.get("/openapi.json", include_in_schema=False)
@needs(EVERYONE)
def openapi(request: Request) -> dict[str, Any]:
    """The OpenAPI document of this version."""
    found: dict[str, Any] = request.app.openapi()
    return found


@router.get("/audit")
@needs(Role.ADMIN)
def audit(here: Here, limit: Annotated[int, Query(ge=1, le=1000)] = 100) -> AuditPage:
    """The last entries of the audit trail, the newest first."""
    return AuditPage(items=[Audited.model_validate(entry) for entry in here.audit.last(limit)])


def _tables(here: Services) -> str | None:
    try:
        with here.histories.borrow("inspections"):
            return None
    except SightlineError as error:
        return str(error)


def _registry(here: Services) -> str | None:
    try:
        here.catalogue.entries()
    except RegistryError as error:
        return str(error)
    return None
