"""Parameters that several routes share: what a value may be, and which frames a question is about."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated

from fastapi import Depends, Query
from pydantic import AfterValidator, AwareDatetime, StringConstraints

from console.engineering.selection import Selection, require_order
from sightline.codec import MAX_NAME
from sightline.contracts import Verdict

SHORTEST_INTERVAL, LONGEST_INTERVAL = 60, 7 * 86400


def _of_this_age(time: datetime) -> datetime:
    if not 1970 <= time.year <= 9000:
        raise ValueError("expected a year from 1970 to 9000")
    return time


Name = Annotated[str, StringConstraints(min_length=1, max_length=MAX_NAME)]
Id = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{32}$")]
Time = Annotated[AwareDatetime, AfterValidator(_of_this_age)]
Score = Annotated[float, Query(allow_inf_nan=False)]
Limit = Annotated[int, Query(ge=1, le=500)]
Cursor = Annotated[str, StringConstraints(min_length=1, max_length=500)]
Seconds = Annotated[int, Query(ge=SHORTEST_INTERVAL, le=LONGEST_INTERVAL)]


def place(
    line: Name | None = None,
    camera: Name | None = None,
    product: Name | None = None,
    since: Time | None = None,
    until: Time | None = None,
) -> Selection:
    """A place and a time."""
    require_order(since, until)
    return Selection(line=line, camera=camera, product=product, since=since, until=until)


def rows(
    line: Name | None = None,
    camera: Name | None = None,
    product: Name | None = None,
    verdict: Verdict | None = None,
    defect_type: Name | None = None,
    detector_version: Name | None = None,
    since: Time | None = None,
    until: Time | None = None,
    score_min: Score | None = None,
    score_max: Score | None = None,
) -> Selection:
    """All filters of inspections."""
    require_order(since, until)
    return Selection(
        line=line,
        camera=camera,
        product=product,
        verdict=verdict and verdict.value,
        defect_type=defect_type,
        detector_version=detector_version,
        since=since,
        until=until,
        score_min=score_min,
        score_max=score_max,
    )


Place = Annotated[Selection, Depends(place)]
Rows = Annotated[Selection, Depends(rows)]
