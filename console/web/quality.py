"""Quality: rates, control charts, line metrics, drift, challengers and thresholds; each an answer of the API, drawn."""

from __future__ import annotations

from collections.abc import Callable
from http import HTTPStatus
from typing import Any, NamedTuple, TypeVar

from fastapi import APIRouter, Request
from fastapi.responses import HTMLResponse

from console.api.guard import needs
from console.api.problems import Problem
from console.api.roles import Role
from console.api.routes.charts import require_shift
from console.api.services import Here
from console.engineering import control, line_metrics, rates
from console.engineering.champions import compared
from console.engineering.drift import drift
from console.engineering.selection import require_order
from console.engineering.thresholds import threshold_effect
from console.spc import RuleSet
from console.tables import History
from console.web import plots
from console.web.asked import moment, number, places, selection, shown, typed
from console.web.pages import PageRoute, page

router = APIRouter(prefix="/quality", route_class=PageRoute, include_in_schema=False)

Answer = TypeVar("Answer")


class Tab(NamedTuple):
    path: str
    title: str


TABS = (
    Tab("/quality", "Defects"),
    Tab("/quality/control", "Control charts"),
    Tab("/quality/lines", "Lines"),
    Tab("/quality/drift", "Drift"),
    Tab("/quality/challengers", "Challengers"),
    Tab("/quality/thresholds", "Thresholds"),
)
_INTERVALS = {"60": "a minute", "600": "10 minutes", "3600": "an hour", "86400": "a day"}


@router.get("", response_class=HTMLResponse)
@needs(Role.VIEWER)
def defects(request: Request, here: Here) -> HTMLResponse:
    """Defect rate by time and line, and the Pareto chart of defect types."""
    fields = typed(request)

    def rate() -> dict[str, Any]:
        found = _asked(here, lambda history: rates.defect_rate(history, selection(fields), _interval(fields)))
        return {"answer": found, "plot": plots.rates(found.points, found.seconds) if found.points else None}

    def types() -> dict[str, Any]:
        found = _asked(
            here, lambda history: rates.pareto(history, selection(fields)), "inspections", "alerts", "operator_actions"
        )
        return {"answer": found, "plot": plots.pareto(found.types) if found.types else None}

    one, other = shown(request, rate), shown(request, types)
    return _page(request, "quality.html.j2", "Defects", one.status, fields, rate=one, types=other)


@router.get("/control", response_class=HTMLResponse)
@needs(Role.VIEWER)
def control_charts(request: Request, here: Here) -> HTMLResponse:
    """A p chart of defects, and X̄ and S charts of one camera's scores."""
    fields = typed(request)

    def baseline() -> tuple[Any, Any]:
        ends = (moment(fields, "baseline_since"), moment(fields, "baseline_until"))
        require_order(*ends, "baseline until")
        return ends

    def options() -> dict[str, Any]:
        return {"rules": _rules(fields), "seconds": _interval(fields)}

    def fractions() -> dict[str, Any]:
        widened = fields.get("limits") != "plain"
        found = _asked(
            here,
            lambda history: control.fractions(history, selection(fields), baseline(), widened=widened, **options()),
        )
        return {"answer": found, "plot": plots.control(found.chart, "share of defects", plots.percent)}

    def subgroups() -> dict[str, Any]:
        found = _asked(here, lambda history: control.subgroups(history, selection(fields), baseline(), **options()))
        return {
            "answer": found,
            "mean": plots.control(found.mean, "mean score", lambda value: f"{value:.3g}"),
            "deviation": plots.control(found.deviation, "deviation", lambda value: f"{value:.2g}"),
        }

    one = shown(request, fractions)
    other = shown(request, subgroups) if "camera" in fields else None
    return _page(
        request, "control.html.j2", "Control charts", one.status, fields, fractions=one, subgroups=other,
        rule_sets=[rules.value for rules in RuleSet],
    )  # fmt: skip


@router.get("/lines", response_class=HTMLResponse)
@needs(Role.VIEWER)
def lines(request: Request, here: Here) -> HTMLResponse:
    """Availability, performance and quality by line and camera."""
    fields = typed(request)

    def metrics() -> Any:
        shift = (_hour(fields, "shift_begin", 0), _hour(fields, "shift_end", 24))
        require_shift(*shift)
        rate = number(fields, "planned_rate")
        if rate is not None and rate <= 0:
            raise _not_acceptable("planned rate", fields["planned_rate"], "a number of frames a minute above 0")
        return _asked(
            here,
            lambda history: line_metrics.line_metrics(history, selection(fields), planned_rate=rate, shift=shift),
        )

    found = shown(request, metrics)
    return _page(request, "lines.html.j2", "Lines", found.status, fields, found=found)


@router.get("/drift", response_class=HTMLResponse)
@needs(Role.VIEWER)
def drifts(request: Request, here: Here) -> HTMLResponse:
    """What `sightline drift` found, by camera."""
    fields = typed(request)
    found = shown(request, lambda: _asked(here, lambda history: drift(history, selection(fields))))
    series = found.answer.series if found.answer else []
    wanted = fields.get("status", "all")
    chosen = [one for one in series if wanted == "all" or one.status in ("drift", "watch")]
    return _page(
        request, "drift.html.j2", "Drift", found.status, fields, found=found, total=len(series),
        drawn=[(one, plots.drift(one)) for one in chosen[:40] if any(point.value is not None for point in one.points)],
        chosen=chosen,
    )  # fmt: skip


@router.get("/challengers", response_class=HTMLResponse)
@needs(Role.VIEWER)
def challengers(request: Request, here: Here) -> HTMLResponse:
    """Champion and challenger of a product on the same frames."""
    fields = typed(request)
    known = places(request)
    product = fields.get("product") or (known.product[0] if known.product else "")
    fields["product"] = product

    def compare() -> Any:
        since = selection(fields).since
        return _asked(here, lambda history: compared(history, product, since), "inspections", "shadow_inspections")

    found = shown(request, compare)
    return _page(request, "challengers.html.j2", "Challengers", found.status, fields, found=found)


@router.get("/thresholds", response_class=HTMLResponse)
@needs(Role.VIEWER)
def thresholds(request: Request, here: Here) -> HTMLResponse:
    """What another threshold would have done; `static/thresholds.js` lets the line be dragged."""
    fields = typed(request)
    known = places(request)
    product = fields.get("product") or (known.product[0] if known.product else "")
    fields["product"] = product

    def effect() -> Any:
        wanted, review = number(fields, "threshold"), number(fields, "review")
        return _asked(here, lambda history: threshold_effect(history, selection(fields), product, wanted, review))

    found = shown(request, effect)
    plot = plots.histogram(found.answer.histogram) if found.answer else None
    return _page(request, "thresholds.html.j2", "Thresholds", found.status, fields, found=found, plot=plot)


def _asked(here: Any, question: Callable[[History], Answer], *tables: str) -> Answer:
    with here.histories.borrow(*(tables or ("inspections",))) as history:
        return question(history)


def _page(
    request: Request, template: str, title: str, status: int, fields: dict[str, str], **context: Any
) -> HTMLResponse:
    return page(
        request,
        template,
        title,
        status=status,
        tabs=TABS,
        tab=request.url.path,
        fields=fields,
        known=places(request),
        intervals=_INTERVALS,
        percent=plots.percent,
        stamp=plots.stamp,
        **context,
    )


def _interval(fields: dict[str, str]) -> int | None:
    text = fields.get("seconds")
    if text is not None and text not in _INTERVALS:
        raise _not_acceptable("interval", text, f"one of {', '.join(_INTERVALS)} seconds")
    return int(text) if text else None


def _rules(fields: dict[str, str]) -> RuleSet:
    text = fields.get("rules", RuleSet.WESTERN_ELECTRIC.value)
    if text not in set(RuleSet):
        raise _not_acceptable("rules", text, "western-electric or nelson")
    return RuleSet(text)


def _hour(fields: dict[str, str], name: str, otherwise: int) -> int:
    text = fields.get(name, str(otherwise))
    if not text.isdecimal() or int(text) > 24:
        raise _not_acceptable(name.replace("_", " "), text, "a full hour from 0 to 24")
    return int(text)


def _not_acceptable(name: str, value: str, expected: str) -> Problem:
    return Problem(HTTPStatus.UNPROCESSABLE_ENTITY, "invalid-request", f"{name} is {value!r}; write {expected}")
