"""History: inspections by filter, as pictures or as a table, and one of them with its whole way."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any
from urllib.parse import urlencode

from fastapi import APIRouter, Request
from fastapi.responses import HTMLResponse

from console.api.guard import needs
from console.api.histories import records
from console.api.paging import Found
from console.api.paging import page as rows_of
from console.api.problems import not_found
from console.api.roles import Role
from console.api.routes.asked import Id, Time
from console.api.routes.history import INSPECTIONS
from console.api.services import Here, Services
from console.engineering.parts import part
from console.engineering.selection import Selection, require_known
from console.tables import History
from console.web.asked import places, selection, shown, typed
from console.web.pages import PageRoute, page
from sightline.codec import MAX_NAME

router = APIRouter(route_class=PageRoute, include_in_schema=False)

_ROWS = {"grid": 48, "table": 100}
FILTERS = ("since", "until", "line", "camera", "product", "verdict", "defect_type", "detector_version", "score_min",
           "score_max")  # fmt: skip


@router.get("/history", response_class=HTMLResponse)
@needs(Role.VIEWER)
def history(request: Request, here: Here) -> HTMLResponse:
    """Inspections by filter, the newest first."""
    fields = typed(request)
    view = fields.get("view") if fields.get("view") in _ROWS else "grid"
    found = shown(request, lambda: _rows(here, selection(fields), fields.get("cursor"), _ROWS[view or "grid"]))
    asked = {name: fields[name] for name in FILTERS if name in fields}
    return page(
        request,
        "history.html.j2",
        "History",
        status=found.status,
        found=found.answer,
        fault=found.fault,
        fields=fields,
        known=places(request),
        view=view,
        paged="cursor" in fields,
        addresses={
            "grid": _address(asked | {"view": "grid"}),
            "table": _address(asked | {"view": "table"}),
            "first": _address(asked | {"view": view}),
            "next": _address(asked | {"view": view, "cursor": found.answer.next}) if found.answer else "",
            "csv": "/v1/exports/inspections?" + _for_api(asked, "csv"),
            "parquet": "/v1/exports/inspections?" + _for_api(asked, "parquet"),
        },
    )


@router.get("/history/{inspection_id}", response_class=HTMLResponse)
@needs(Role.VIEWER)
def one(request: Request, inspection_id: Id, here: Here, captured_at: Time | None = None) -> HTMLResponse:
    """One inspection: its frame under the heat map, its way from capture to answer, the frames beside it."""
    with here.histories.borrow("inspections") as opened:
        found = part(opened, inspection_id, captured_at, here.actions)
    return page(
        request, "inspection.html.j2", f"{found.inspection.camera} #{found.inspection.sequence}", part=found,
        spans=_spans(found.stages), at=_at(found.inspection.captured_at),
    )  # fmt: skip


@router.get("/parts", response_class=HTMLResponse)
@needs(Role.VIEWER)
def by_number(request: Request, here: Here) -> HTMLResponse:
    """The last inspection with a camera's and a frame's number, which is what stands on a part's label."""
    fields = typed(request)
    camera, number = fields.get("camera", ""), fields.get("sequence", "")
    if not camera or len(camera) > MAX_NAME or not number.isdecimal() or len(number) > 18:
        raise not_found("frame", f"{camera} #{number}", "name a camera and the number of one of its frames")
    with here.histories.borrow("inspections") as opened:
        rows = opened.connection.execute(
            "SELECT inspection_id, captured_at FROM inspections WHERE camera = $camera AND sequence = $sequence "
            "ORDER BY captured_at DESC LIMIT 1",
            {"camera": camera, "sequence": int(number)},
        ).fetchall()
        if not rows:
            require_known(opened, Selection(camera=camera))
            raise not_found("frame", f"{camera} #{number}", "it may be too new, dropped, or a dead letter")
    return one(request, rows[0][0], here, rows[0][1])


def _rows(here: Services, chosen: Selection, cursor: str | None, limit: int) -> Found:
    with here.histories.borrow("inspections") as opened:
        found = rows_of(
            opened,
            INSPECTIONS,
            chosen.filters(opened),
            since=chosen.since,
            until=chosen.until,
            cursor=cursor,
            limit=limit,
        )
        if not found.rows:
            require_known(opened, chosen)
        kept = _kept(opened, found.rows)
    for row in found.rows:
        row["at"] = _at(row["captured_at"])
        row["picture"] = (
            "thumbnail" if row["verdict"] == "defect" else "frame" if row["inspection_id"] in kept else None
        )
    return found


def _kept(opened: History, rows: list[dict[str, Any]]) -> set[str]:
    """Which of these the archive has, so that no picture is asked for in vain."""
    if not rows or "frame_archive" not in opened.tables:
        return set()
    begin, end = rows[-1]["captured_at"], rows[0]["captured_at"]
    span = Selection(since=begin, until=end + timedelta(microseconds=1)).during("captured_at")
    ids = ", ".join(f"'{row['inspection_id']}'" for row in rows if row["inspection_id"].isalnum())
    found = records(opened, f"SELECT inspection_id FROM frame_archive WHERE {span} AND inspection_id IN ({ids})")
    return {row["inspection_id"] for row in found}


def _spans(stages: list[Any]) -> list[dict[str, Any]]:
    """Places of the stages on a line of 1000, each step at least so wide that it can be seen."""
    total = sum(one.milliseconds or 0 for one in stages) or 1
    widths = [max((one.milliseconds or 0) / total, 0.02) for one in stages[1:]]
    whole, x, found = sum(widths) or 1, 0.0, []
    for stage, width in zip(stages[1:], widths, strict=True):
        found.append({"x": x, "width": width / whole * 1000, "stage": stage})
        x += width / whole * 1000
    return found


def _at(time: datetime) -> str:
    return time.isoformat(timespec="microseconds").replace("+00:00", "Z")


def _address(fields: dict[str, Any]) -> str:
    return "/history?" + urlencode({name: value for name, value in fields.items() if value is not None})


def _for_api(asked: dict[str, str], form: str) -> str:
    """The same filters for the API, whose times name their zone."""
    zoned = {name: value + "Z" if name in ("since", "until") and value[-1:].isdigit() and "+" not in value else value
             for name, value in asked.items()}  # fmt: skip
    return urlencode(zoned | {"format": form})
