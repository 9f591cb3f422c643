"""Charts as geometry, which `plots.html.j2` draws as SVG; each page gives the same figures as a table.

All places are in the units of the drawing's own viewBox; colours and dashes are classes of `engineering.css`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from math import floor, log10

from console.engineering.shapes import Bar, Control, DefectType, DriftPoint, DriftSeries, RatePoint

WIDTH, HEIGHT = 960, 280
LEFT, RIGHT, TOP, BOTTOM = 62, 16, 14, 34
SMALL = 200
"""Height of one of several drawings."""

_MOST_TICKS = 8
_TICK_MINUTES = (1, 2, 5, 10, 15, 30, 60, 120, 180)


@dataclass(frozen=True, slots=True)
class Tick:
    at: float
    text: str


@dataclass(frozen=True, slots=True)
class Curve:
    """`d` of a path; `kind` is its class, `name` stands in the legend where there is one."""

    d: str
    kind: str
    name: str | None = None


@dataclass(frozen=True, slots=True)
class Mark:
    """A point; `text` is what it tells when pointed at."""

    x: float
    y: float
    kind: str
    text: str


@dataclass(frozen=True, slots=True)
class Box:
    x: float
    y: float
    width: float
    height: float
    kind: str
    text: str


@dataclass(frozen=True, slots=True)
class Plot:
    """One drawing; `label` says in words what is to be seen."""

    label: str
    x_ticks: list[Tick]
    y_ticks: list[Tick]
    y_title: str
    curves: list[Curve] = field(default_factory=list)
    marks: list[Mark] = field(default_factory=list)
    boxes: list[Box] = field(default_factory=list)
    right_ticks: list[Tick] = field(default_factory=list)
    width: int = WIDTH
    height: int = HEIGHT
    left: int = LEFT
    right: int = WIDTH - RIGHT
    top: int = TOP
    bottom: int = HEIGHT - BOTTOM

    @property
    def legend(self) -> list[Curve]:
        """The curves that have a name."""
        return [curve for curve in self.curves if curve.name]


def rates(points: Sequence[RatePoint], seconds: int) -> dict[str, Plot]:
    """Share of defects over time, a drawing for each production line; all have the same scales, to be compared."""
    lines: dict[str, list[RatePoint]] = {}
    for point in points:
        lines.setdefault(point.line, []).append(point)
    last = timedelta(seconds=seconds)
    across = _times([point.time for point in points], last)
    gap = 1.5 * (across(points[0].time + last) - across(points[0].time))
    # drawn in two columns where there is more than one, so half as wide and no lower
    height = HEIGHT if len(lines) == 1 else SMALL
    up = _scale(0, max((point.rate for point in points), default=0.0), height - BOTTOM, TOP)
    ticks = _time_ticks(points[0].time, points[-1].time + last, across)
    found = {}
    for name, of_line in sorted(lines.items()):
        places = [(across(point.time), up(point.rate)) for point in of_line]
        marks = [
            Mark(x, y, "in", f"{name}, {stamp(point.time)}: {percent(point.rate)} of {point.inspected:,} frames")
            for (x, y), point in zip(places, of_line, strict=True)
        ]
        found[name] = Plot(
            f"Share of defects of {name} over time", ticks, _value_ticks(up, percent), "defects",
            [Curve(_path(places, gap), "value")], marks, height=height, bottom=height - BOTTOM,
        )  # fmt: skip
    return found


def control(chart: Control, what: str, show: Callable[[float], str]) -> Plot:
    """A control chart: points in their order with centre and limits; those that break a rule are marked."""
    points = chart.points
    known = [value for one in points for value in (one.value, one.lower, one.upper) if value is not None]
    low, high = min([*known, chart.center]), max([*known, chart.center])
    room = (high - low) * 0.06 or abs(high) * 0.06 or 1.0
    up = _scale(low if low == 0 else low - room, high + room, HEIGHT - BOTTOM, TOP, keep=True)
    across = _positions(len(points))
    places = [(across(nth), up(one.value), one) for nth, one in enumerate(points) if one.value is not None]
    step = (WIDTH - RIGHT - LEFT) / max(len(points), 1) / 2
    curves = [
        Curve(_steps([(across(nth), up(getattr(one, end))) for nth, one in enumerate(points)
                      if getattr(one, end) is not None], step), "limit", name)
        for end, name in (("upper", "limits"), ("lower", None))
    ]  # fmt: skip
    curves.append(Curve(f"M{LEFT} {up(chart.center):.1f}H{WIDTH - RIGHT}", "center", "centre"))
    curves.append(Curve(_path([(x, y) for x, y, _ in places]), "value", what))
    marks = [
        Mark(x, y, "out" if one.rules else "in", f"{stamp(one.time)}: {show(one.value or 0)}, {one.size:,} frames"
             + (f"; {', '.join(one.rules)}" if one.rules else ""))
        for x, y, one in places
    ]  # fmt: skip
    every = max(1, -(-len(points) // _MOST_TICKS))
    ticks = [Tick(across(nth), stamp(one.time)) for nth, one in enumerate(points) if nth % every == 0]
    return Plot(f"Control chart of {what}", ticks, _value_ticks(up, show), what, curves, marks)


def pareto(types: Sequence[DefectType]) -> Plot:
    """Bars by type, the highest first, and the cumulative share as a line."""
    most = max((one.incidents for one in types), default=1)
    up = _scale(0, most, HEIGHT - BOTTOM, TOP)
    share = _scale(0, 1, HEIGHT - BOTTOM, TOP, keep=True)
    left, right = LEFT, WIDTH - 50
    slot = (right - left) / max(len(types), 1)
    boxes, places = [], []
    for nth, one in enumerate(types):
        x = left + slot * nth
        text = f"{one.defect_type}: {one.incidents:,} incidents, {percent(one.share)}"
        boxes.append(
            Box(x + slot * 0.15, up(one.incidents), slot * 0.7, HEIGHT - BOTTOM - up(one.incidents), "bar", text)
        )
        places.append((x + slot / 2, share(one.cumulative)))
    marks = [Mark(x, y, "total", f"{percent(one.cumulative)} up to {one.defect_type}")
             for (x, y), one in zip(places, types, strict=True)]  # fmt: skip
    return Plot(
        "Confirmed incidents by type of defect, and their cumulative share",
        [Tick(left + slot * (nth + 0.5), one.defect_type) for nth, one in enumerate(types)],
        _value_ticks(up, lambda value: f"{value:,.0f}"),
        "incidents",
        [Curve(_path(places), "total", "cumulative share")],
        marks,
        boxes,
        [Tick(share(at), percent(at)) for at in (0, 0.25, 0.5, 0.75, 1)],
        right=right,
    )


def histogram(bars: Sequence[Bar]) -> Plot:
    """Frames by score and by what is known of them, on a logarithmic scale: good frames outnumber all others."""
    most = max((bar.good + bar.defective + bar.unknown for bar in bars), default=1)
    bottom, top = HEIGHT - BOTTOM, TOP

    def up(count: float) -> float:
        return bottom - (bottom - top) * log10(count + 1) / log10(max(most, 9) + 1)

    low, high = bars[0].low, bars[-1].high
    across = _scale(low, high, LEFT, WIDTH - RIGHT, keep=True)
    boxes = []
    for bar in bars:
        # side by side, since heights on a logarithmic scale cannot be stacked
        counts = [(kind, getattr(bar, kind)) for kind in ("unknown", "good", "defective") if getattr(bar, kind)]
        for nth, (kind, count) in enumerate(counts):
            width = (across(bar.high) - across(bar.low)) / len(counts)
            x = across(bar.low) + width * nth
            text = f"{kind}: {count:,} frames from {bar.low:.3g} to {bar.high:.3g}"
            boxes.append(Box(x, up(count), width * 0.92, bottom - up(count), kind, text))
    decades = [10**power for power in range(8) if 10**power <= most]
    return Plot(
        "Frames by score, apart for good, defective and unknown ones",
        _value_ticks(across, lambda value: f"{value:.3g}"),
        [Tick(up(count), f"{count:,}") for count in decades],
        "frames",
        boxes=boxes,
    )


def drift(series: DriftSeries) -> Plot:
    """One figure over its windows, with the limits from which it counts."""
    points = [one for one in series.points if one.value is not None]
    watch, act = series.points[-1].watch, series.points[-1].act
    up = _scale(0, max([act, *(one.value or 0 for one in points)]) * 1.05, 120 - 24, 8)
    across = _positions(len(points))
    places = [(across(nth), up(one.value or 0)) for nth, one in enumerate(points)]
    every = max(1, -(-len(points) // 5))
    return Plot(
        f"{series.statistic} of {series.measure} at {series.camera}, window after window",
        [Tick(across(nth), f"{one.window_start:%d %b}") for nth, one in enumerate(points) if nth % every == 0],
        [Tick(up(watch), f"{watch:.2g}"), Tick(up(act), f"{act:.2g}")],
        "",
        [
            Curve(f"M{LEFT} {up(watch):.1f}H{WIDTH - RIGHT}", "center"),
            Curve(f"M{LEFT} {up(act):.1f}H{WIDTH - RIGHT}", "limit"),
            Curve(_path(places), "value"),
        ],
        [
            Mark(
                x,
                y,
                "out" if one.status == "drift" else "in",
                f"{stamp(one.window_start)}: {one.value:.3g}, {one.status}",
            )
            for (x, y), one in zip(places, points, strict=True)
        ],
        height=120,
        top=8,
        bottom=120 - 24,
    )


def _window(one: DriftPoint) -> str:
    return f"{stamp(one.window_start)}: {one.value or 0:.3g}, {one.status}"


def percent(share: float) -> str:
    """A share in per cent with as many digits as it needs: 12 %, 1.3 %, 0.04 %."""
    value = share * 100
    digits = 0 if value == 0 or value >= 10 else 1 if value >= 1 else 2
    return f"{value:.{digits}f} %"


def stamp(time: datetime) -> str:
    """Day and hour."""
    return f"{time:%d %b %H:%M}"


@dataclass(frozen=True, slots=True)
class _Scale:
    low: float
    high: float
    start: float
    end: float

    def __call__(self, value: float) -> float:
        return self.start + (self.end - self.start) * (value - self.low) / (self.high - self.low)


def _scale(low: float, high: float, start: float, end: float, *, keep: bool = False) -> _Scale:
    """From values to places; unless `keep`, the upper end is rounded so that the last tick is there."""
    if high <= low:
        high = low + 1
    if not keep:
        step = _step(high - low)
        high = low + step * -(-(high - low) // step)
    return _Scale(low, high, start, end)


def _step(span: float) -> float:
    size: float = 10.0 ** floor(log10(span / 5))
    return next(size * factor for factor in (1, 2, 5, 10) if size * factor >= span / 5)


def _value_ticks(scale: _Scale, show: Callable[[float], str]) -> list[Tick]:
    step = _step(scale.high - scale.low)
    first = -(-scale.low // step)
    count = int((scale.high - first * step) / step + 1e-9) + 1
    return [Tick(scale((first + nth) * step), show((first + nth) * step)) for nth in range(count)]


def _times(times: Sequence[datetime], last: timedelta) -> Callable[[datetime], float]:
    begin = min(times)
    scale = _scale(0, (max(times) + last - begin).total_seconds(), LEFT, WIDTH - RIGHT, keep=True)
    return lambda time: scale((time - begin).total_seconds())


def _time_ticks(begin: datetime, end: datetime, across: Callable[[datetime], float]) -> list[Tick]:
    minutes = (end - begin) / timedelta(minutes=1)
    if minutes <= 36 * 60:
        step = timedelta(minutes=next(one for one in _TICK_MINUTES if minutes / one <= 12))
        form = "%H:%M"
    else:
        step, form = timedelta(days=max(1, round(minutes / 1440 / _MOST_TICKS))), "%d %b"
    midnight = begin.replace(hour=0, minute=0, second=0, microsecond=0)
    tick = midnight + -(-(begin - midnight) // step) * step
    found = []
    while tick <= end:
        found.append(Tick(across(tick), f"{tick:{form}}"))
        tick += step
    return found


def _positions(count: int) -> Callable[[int], float]:
    step = (WIDTH - RIGHT - LEFT) / max(count, 1)
    return lambda nth: LEFT + step * (nth + 0.5)


def _path(places: Sequence[tuple[float, float]], gap: float = float("inf")) -> str:
    parts: list[str] = []
    before = -float("inf")
    for x, y in places:
        parts.append(f"{'L' if x - before <= gap and parts else 'M'}{x:.1f} {y:.1f}")
        before = x
    return "".join(parts)


def _steps(places: Sequence[tuple[float, float]], half: float) -> str:
    """Limits belong to a sample each, so they go in steps."""
    parts = [f"{'L' if nth else 'M'}{x - half:.1f} {y:.1f}H{x + half:.1f}" for nth, (x, y) in enumerate(places)]
    return "".join(parts)
