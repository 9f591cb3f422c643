"""Alerts: the feed, one of them, and what its page needs beyond `/v1/alerts`."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Annotated, Any

from fastapi import APIRouter, Query, Request
from fastapi.responses import HTMLResponse
from pydantic import BaseModel

from console.api.guard import GuardedRoute, needs
from console.api.histories import literal, records
from console.api.roles import Role
from console.api.routes.alerts import alert as known_alert
from console.api.routes.asked import Id
from console.api.services import Here
from console.api.shapes import Shape
from console.web.live import floor_feed
from console.web.pages import PageRoute, page
from sightline.contracts import Verdict

router = APIRouter(route_class=PageRoute, include_in_schema=False)
data = APIRouter(prefix="/console", route_class=GuardedRoute, include_in_schema=False)

NEIGHBOURS = 4
"""Frames before and after the one of the peak."""

_SLACK = timedelta(minutes=1)
_TYPES = """
SELECT defect_type FROM operator_actions WHERE kind = 'confirm' AND defect_type IS NOT NULL
GROUP BY defect_type ORDER BY count(*) DESC, defect_type LIMIT 30
"""


class NearFrame(Shape):
    """A frame beside that of the peak; `kept` tells whether the archive has its pixels."""

    inspection_id: str
    sequence: int
    captured_at: datetime
    score: float
    threshold: float
    verdict: Verdict
    kept: bool


class NearFrames(BaseModel):
    """In the order in which they were captured; empty while the tables do not have them yet."""

    peak: int
    items: list[NearFrame]


@router.get("/alerts", response_class=HTMLResponse)
@needs(Role.VIEWER)
def feed(request: Request) -> HTMLResponse:
    """Alerts by urgency; `static/alerts.js` fills it from `/console/live` and `/v1/alerts`."""
    return page(request, "alerts.html.j2", "Alerts")


@router.get("/alerts/{alert_id}", response_class=HTMLResponse)
@needs(Role.VIEWER)
def one(request: Request, alert_id: Id) -> HTMLResponse:
    """One alert; `static/alert.js` fills it."""
    return page(request, "alert.html.j2", "Alert", alert_id=alert_id, neighbours=NEIGHBOURS)


@data.get("/alerts/{alert_id}/frames")
@needs(Role.VIEWER)
def frames(alert_id: Id, here: Here, around: Annotated[int | None, Query(ge=0)] = None) -> NearFrames:
    """The frames beside that of the peak, or beside number `around`."""
    about = known_alert(alert_id, here)
    middle = about.peak_sequence if around is None else around
    low, high = literal(about.opened_at - _SLACK), literal(about.updated_at + _SLACK)
    near = f"sequence BETWEEN {middle - NEIGHBOURS} AND {middle + NEIGHBOURS}"
    when = f"captured_at BETWEEN {low} AND {high} AND day BETWEEN ({low})::DATE AND ({high})::DATE"
    with here.histories.borrow("inspections") as history:
        archive = "frame_archive" in history.tables
        kept = f"(SELECT inspection_id FROM frame_archive WHERE camera = $camera AND {near} AND {when})"
        found: list[dict[str, Any]] = records(
            history,
            f"SELECT inspection_id, sequence, captured_at, score, threshold, verdict, "
            f"{f'inspection_id IN {kept}' if archive else 'false'} AS kept "
            f"FROM inspections WHERE camera = $camera AND {near} AND {when} ORDER BY sequence, captured_at",
            {"camera": about.camera},
        )
    return NearFrames(peak=about.peak_sequence, items=[NearFrame.model_validate(row) for row in found])


@data.get("/defect-types")
@needs(Role.VIEWER)
def defect_types(request: Request, here: Here) -> list[str]:
    """Types that operators have confirmed, the most frequent first."""
    with here.histories.borrow() as history:
        stored = records(history, _TYPES) if "operator_actions" in history.tables else []
    known = [row["defect_type"] for row in stored]
    lately = {action.defect_type for action in floor_feed(request).watch().answers() if action.defect_type}
    return known + sorted(lately - set(known))
