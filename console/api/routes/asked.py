"""Parameters that several routes share: which frames a question is about."""

from __future__ import annotations

from typing import Annotated

from fastapi import Depends, Query

from console.api.routes.history import Name, Score, Time
from console.engineering.selection import Selection, require_order
from sightline.contracts import Verdict

SHORTEST_INTERVAL, LONGEST_INTERVAL = 60, 7 * 86400

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
