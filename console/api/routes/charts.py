"""What engineers look at: rates, control charts, line metrics, drift, champion against challenger, thresholds."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime
from http import HTTPStatus
from typing import Annotated

from fastapi import APIRouter, Depends, Query

from console.api.guard import GuardedRoute, needs
from console.api.problems import Problem
from console.api.roles import Role
from console.api.routes.asked import Name, Place, Score, Seconds, Time
from console.api.routes.detectors import Product
from console.api.services import Here
from console.engineering import control, line_metrics, rates
from console.engineering.champions import Comparison, compared
from console.engineering.drift import drift
from console.engineering.selection import Selection, require_order
from console.engineering.shapes import DefectRate, Drift, Fractions, Oee, Pareto, Subgroups, ThresholdEffect
from console.engineering.thresholds import threshold_effect
from console.spc import RuleSet

router = APIRouter(prefix="/v1/charts", tags=["charts"], route_class=GuardedRoute)

Rate = Annotated[float, Query(gt=0, le=1e6, allow_inf_nan=False)]
Hour = Annotated[int, Query(ge=0, le=24)]


def baseline_of(
    baseline_since: Time | None = None, baseline_until: Time | None = None
) -> tuple[datetime | None, datetime | None]:
    """The period that limits are taken from."""
    require_order(baseline_since, baseline_until, "baseline_until")
    return baseline_since, baseline_until


Baseline = Annotated[tuple[datetime | None, datetime | None], Depends(baseline_of)]


@router.get("/defect-rate")
@needs(Role.VIEWER)
def defect_rate(here: Here, chosen: Place, seconds: Seconds | None = None) -> DefectRate:
    """Share of defects by interval and line. Without times it is the last week that has frames, as for all charts."""
    with here.histories.borrow("inspections") as history:
        return rates.defect_rate(history, chosen, seconds)


@router.get("/defect-types")
@needs(Role.VIEWER)
def defect_types(here: Here, chosen: Place) -> Pareto:
    """Incidents by the type of defect that operators confirmed, the most frequent first."""
    with here.histories.borrow("inspections", "alerts", "operator_actions") as history:
        return rates.pareto(history, chosen)


@router.get("/fractions")
@needs(Role.VIEWER)
def fractions(
    here: Here,
    chosen: Place,
    baseline: Baseline,
    detector_version: Name | None = None,
    rules: RuleSet = RuleSet.WESTERN_ELECTRIC,
    widened: bool = True,
    seconds: Seconds | None = None,
) -> Fractions:
    """A p chart of the share of defects; `widened` makes it Laney's p′ chart, for defects that come in bursts."""
    chosen = replace(chosen, detector_version=detector_version)
    with here.histories.borrow("inspections") as history:
        return control.fractions(history, chosen, baseline, rules=rules, widened=widened, seconds=seconds)


@router.get("/subgroups")
@needs(Role.VIEWER)
def subgroups(
    here: Here,
    chosen: Place,
    baseline: Baseline,
    detector_version: Name | None = None,
    rules: RuleSet = RuleSet.WESTERN_ELECTRIC,
    size: Annotated[int, Query(ge=2, le=100)] = 25,
    seconds: Seconds | None = None,
) -> Subgroups:
    """X̄ and S charts of one camera's scores, frames with a defect left out."""
    chosen = replace(chosen, detector_version=detector_version)
    with here.histories.borrow("inspections") as history:
        return control.subgroups(history, chosen, baseline, rules=rules, size=size, seconds=seconds)


@router.get("/line-metrics")
@needs(Role.VIEWER)
def oee(
    here: Here,
    chosen: Place,
    planned_rate: Rate | None = None,
    shift_begin: Hour = 0,
    shift_end: Hour = 24,
) -> Oee:
    """Availability, performance and quality as far as cameras tell; `planned_rate` in frames a minute and camera."""
    require_shift(shift_begin, shift_end)
    with here.histories.borrow("inspections") as history:
        return line_metrics.line_metrics(history, chosen, planned_rate=planned_rate, shift=(shift_begin, shift_end))


@router.get("/drift")
@needs(Role.VIEWER)
def drifts(here: Here, chosen: Place) -> Drift:
    """What `sightline drift` found, by camera and figure, drifting ones first; a month unless times are given."""
    with here.histories.borrow("inspections") as history:
        return drift(history, chosen)


@router.get("/champions")
@needs(Role.VIEWER)
def champions(
    here: Here,
    product: Product,
    since: Time | None = None,
    champion: Name | None = None,
    challenger: Name | None = None,
) -> Comparison:
    """Champion and challenger on the same frames, as `sightline shadow PRODUCT --json`."""
    with here.histories.borrow("inspections", "shadow_inspections") as history:
        return compared(history, product, since, champion, challenger)


@router.get("/thresholds")
@needs(Role.VIEWER)
def thresholds(
    here: Here,
    product: Product,
    line: Name | None = None,
    camera: Name | None = None,
    detector_version: Name | None = None,
    since: Time | None = None,
    until: Time | None = None,
    threshold: Score | None = None,
    review: Score | None = None,
) -> ThresholdEffect:
    """What another threshold would have made of the same frames, by what is known of them."""
    require_order(since, until)
    chosen = Selection(line=line, camera=camera, detector_version=detector_version, since=since, until=until)
    with here.histories.borrow("inspections") as history:
        return threshold_effect(history, chosen, product, threshold, review)


def require_shift(begin: int, end: int) -> None:
    """Raises Problem 422 for hours that do not follow each other."""
    if begin >= end:
        raise Problem(
            HTTPStatus.UNPROCESSABLE_ENTITY,
            "invalid-request",
            f"shift_end is {end}, which is not after shift_begin {begin}; a shift past midnight is two",
        )
