"""The filtered history as a file."""

from __future__ import annotations

from contextlib import closing
from typing import Annotated

from fastapi import APIRouter, Query, Request
from fastapi.responses import StreamingResponse
from pydantic import BaseModel
from starlette.types import Receive, Scope, Send

from console.api.guard import GuardedRoute, needs, remote
from console.api.roles import Role
from console.api.routes.asked import Rows
from console.api.services import Here, Who
from console.engineering.exports import MEDIA_TYPES, MOST_ROWS, Export, Format

router = APIRouter(prefix="/v1/exports", tags=["exports"], route_class=GuardedRoute)

FormatAsked = Annotated[Format, Query(alias="format")]


class _Exported(StreamingResponse):
    """The file of an export, which is closed also where the client left before the first byte."""

    def __init__(self, export: Export, media_type: str) -> None:
        named = {"Content-Disposition": f'attachment; filename="{export.name}"'}
        super().__init__(export.chunks, media_type=media_type, headers=named)
        self._export = export

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        with closing(self._export):
            await super().__call__(scope, receive, send)


class ExportSize(BaseModel):
    """`most` rows are taken as this format."""

    rows: int
    most: int


_LIMITS = " and ".join(f"{most:,} as {form.value}" for form, most in MOST_ROWS.items())


@router.get(
    "/inspections",
    response_class=StreamingResponse,
    responses={
        200: {
            "content": {MEDIA_TYPES[form].partition(";")[0]: {} for form in Format},
            "description": f"The inspections that fit, at most {_LIMITS}, in no particular order",
        }
    },
)
@needs(Role.ENGINEER)
def inspections(
    request: Request, here: Here, who: Who, chosen: Rows, form: FormatAsked = Format.CSV
) -> StreamingResponse:
    """The inspections that fit, without pictures, streamed. What a spreadsheet would run as a formula is quoted."""
    export = here.exports.begin(chosen, form)
    try:
        here.audit.note("export", who.name, remote=remote(request), file=export.name)
        return _Exported(export, MEDIA_TYPES[form])
    except BaseException:
        export.close()
        raise


@router.get("/inspections/size")
@needs(Role.ENGINEER)
def size(here: Here, chosen: Rows, form: FormatAsked = Format.CSV) -> ExportSize:
    """How many rows the file would hold; refused with 422 where that is more than it takes."""
    return ExportSize(rows=here.exports.size(chosen, form), most=MOST_ROWS[form])
