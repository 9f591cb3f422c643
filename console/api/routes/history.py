"""Cameras, inspections and tables, out of the Delta tables."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from fastapi import APIRouter, Response

from console.api.guard import GuardedRoute, needs
from console.api.histories import literal, newest, records
from console.api.paging import Listing, page
from console.api.problems import not_found
from console.api.roles import Role
from console.api.routes.asked import Cursor, Id, Limit, Name, Rows, Time
from console.api.services import Here, Services
from console.api.shapes import (
    Camera,
    Cameras,
    Column,
    InspectionDetail,
    InspectionSummary,
    Page,
    Table,
    TableDetail,
    Tables,
)
from console.catalog import columns, describe

router = APIRouter(prefix="/v1", tags=["history"], route_class=GuardedRoute)

_LOOKED_BACK = timedelta(days=30)
_NARROW = "inspection_id, line, camera, sequence, captured_at, product, score, threshold, verdict, detector, label"
_WIDE = f"{_NARROW}, width, height, regions, heat_map, quality, timings, thumbnail"
INSPECTIONS = Listing("inspections", "inspections", _NARROW, "captured_at", "inspection_id")


@router.get("/cameras")
@needs(Role.VIEWER)
def cameras(here: Here) -> Cameras:
    """Every camera that was heard of, with what it last said and what the last day of its line brought.

    A line without a frame in the last 30 days brought nothing. Frames dated later than five minutes from now are of a
    clock that runs ahead, and do not count.
    """
    with here.histories.borrow() as history:
        last = newest(history, "inspections", "captured_at") if "inspections" in history.tables else None
        judged = _JUDGED.format(recent=_recent(last)) if last else _NOT_JUDGED
        told = _TOLD if "camera_events" in history.tables else _NOT_TOLD
        found = records(history, _CAMERAS.format(judged=judged, told=told))
    return Cameras(items=[Camera.model_validate(row) for row in found])


@router.get("/inspections")
@needs(Role.VIEWER)
def inspections(
    here: Here,
    chosen: Rows,
    limit: Limit = 50,
    cursor: Cursor | None = None,
) -> Page[InspectionSummary]:
    """Inspected frames, the newest first. `since` is included, `until` is not.

    `defect_type` is the type with which operators confirmed a frame's incident, or the label that its source gave.
    """
    with here.histories.borrow("inspections") as history:
        filters, times = chosen.filters(history), {"since": chosen.since, "until": chosen.until}
        found = page(history, INSPECTIONS, filters, **times, cursor=cursor, limit=limit)
    items = [InspectionSummary.model_validate(row | {"href": _href(row)}) for row in found.rows]
    return Page(items=items, next=found.next)


@router.get("/inspections/{inspection_id}")
@needs(Role.VIEWER)
def inspection(inspection_id: Id, here: Here, captured_at: Time | None = None) -> InspectionDetail:
    """One inspection with heat map and thumbnail. With `captured_at`, as in `href`, it is found much faster."""
    row = _row(here, "inspections", _WIDE, inspection_id, captured_at)
    return InspectionDetail.model_validate(row | {"href": _href(row)})


@router.get(
    "/inspections/{inspection_id}/thumbnail",
    response_class=Response,
    responses={200: {"content": {"image/jpeg": {}}, "description": "The picture under its heat map"}},
)
@needs(Role.VIEWER)
def thumbnail(inspection_id: Id, here: Here, captured_at: Time | None = None) -> Response:
    """The small picture under its heat map, which defects have."""
    row = _row(here, "inspections", "thumbnail", inspection_id, captured_at)
    if row["thumbnail"] is None:
        raise not_found("thumbnail of inspection", inspection_id, "defects have one; `/frame` may have the picture")
    return Response(row["thumbnail"], media_type="image/jpeg")


@router.get(
    "/inspections/{inspection_id}/frame",
    response_class=Response,
    responses={200: {"content": {"image/jpeg": {}}, "description": "The frame as captured"}},
)
@needs(Role.VIEWER)
def frame(inspection_id: Id, here: Here, captured_at: Time | None = None) -> Response:
    """The frame as the camera sent it, where the archive keeps it."""
    return Response(_row(here, "frame_archive", "jpeg", inspection_id, captured_at)["jpeg"], media_type="image/jpeg")


@router.get("/tables")
@needs(Role.VIEWER)
def tables(here: Here) -> Tables:
    """The Delta tables, as of their last commit."""
    with here.histories.borrow() as history:
        found = [describe(name, table) for name, table in history.tables.items()]
    return Tables(items=[Table.model_validate(table) for table in found])


@router.get("/tables/{name}")
@needs(Role.VIEWER)
def table(name: Name, here: Here) -> TableDetail:
    """One table with its columns."""
    with here.histories.borrow() as history:
        if name not in history.tables:
            raise not_found("table", name, f"known: {', '.join(sorted(history.tables))}")
        stored = history.tables[name]
        listed = [Column.model_validate(column) for column in columns(stored)]
        described = Table.model_validate(describe(name, stored))
    return TableDetail(**described.model_dump(), columns=listed)


def _recent(last: datetime) -> str:
    """The condition of a frame that is at most _LOOKED_BACK before `last`, and no later."""
    first = last - _LOOKED_BACK
    day = first.astimezone(UTC).date()
    return f"captured_at >= {literal(first)} AND captured_at <= {literal(last)} AND day >= DATE '{day}'"


def _row(here: Services, table: str, wanted: str, inspection_id: str, captured_at: datetime | None) -> dict[str, Any]:
    where = f"inspection_id = '{inspection_id}'"
    if captured_at is not None:
        # its day as well, so that the footers of other days' files stay unread
        where += f" AND captured_at = {literal(captured_at)} AND day = DATE '{captured_at.astimezone(UTC).date()}'"
    with here.histories.borrow(table) as history:
        found = records(history, f"SELECT {wanted} FROM {table} WHERE {where} LIMIT 1")
    if not found:
        kept = "the archive keeps defects, reviews and a sample of ok" if table == "frame_archive" else "it may be new"
        raise not_found("row of inspection", inspection_id, f"not in the table {table}: {kept}")
    return found[0]


def _href(row: dict[str, Any]) -> str:
    time: datetime = row["captured_at"]
    text = time.isoformat(timespec="microseconds").replace("+00:00", "Z")
    return f"/v1/inspections/{row['inspection_id']}?captured_at={text}"


_JUDGED = """
SELECT camera, arg_max(i.line, captured_at) AS line, arg_max(product, captured_at) AS product,
       max(captured_at) AS last_frame_at, count(*) AS inspected,
       count(*) FILTER (verdict = 'review') AS review, count(*) FILTER (verdict = 'defect') AS defects
FROM inspections i
JOIN (SELECT line, max(captured_at) AS ended FROM inspections WHERE {recent} GROUP BY line) USING (line)
WHERE {recent} AND captured_at >= ended - INTERVAL 1 DAY GROUP BY camera
"""
_NOT_JUDGED = """
SELECT NULL::VARCHAR AS camera, NULL::VARCHAR AS line, NULL::VARCHAR AS product, NULL::TIMESTAMPTZ AS last_frame_at,
       0 AS inspected, 0 AS review, 0 AS defects WHERE false
"""
_TOLD = """
SELECT camera, arg_max(line, "at") AS line, arg_max(kind, "at") AS last_event, max("at") AS last_event_at,
       coalesce(sum(last_sequence - first_sequence + 1) FILTER (kind = 'dropped'), 0)::BIGINT AS dropped
FROM camera_events GROUP BY camera
"""
_NOT_TOLD = """
SELECT NULL::VARCHAR AS camera, NULL::VARCHAR AS line, NULL::VARCHAR AS last_event,
       NULL::TIMESTAMPTZ AS last_event_at, 0 AS dropped WHERE false
"""
_CAMERAS = """
WITH judged AS ({judged}), told AS ({told})
SELECT camera, coalesce(judged.line, told.line) AS line, product, last_frame_at, last_event, last_event_at,
       coalesce(inspected, 0) AS inspected, coalesce(review, 0) AS review, coalesce(defects, 0) AS defects,
       coalesce(dropped, 0) AS dropped
FROM judged FULL JOIN told USING (camera) ORDER BY camera
"""
