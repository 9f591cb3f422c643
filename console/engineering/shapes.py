"""What engineers' questions are answered with; the API sends them as they are, the pages draw them. Times are UTC."""

from __future__ import annotations

from datetime import datetime

from pydantic import BaseModel, ConfigDict

from console.api.shapes import Action, AlertSummary, InspectionSummary, Shape
from console.spc import RuleSet


class Answer(BaseModel):
    """Every answer names the time that it is about; `notes` say what a reader must know to read it right."""

    model_config = ConfigDict(from_attributes=True)

    since: datetime
    until: datetime
    notes: list[str] = []


class RatePoint(Shape):
    """Frames of one interval and line; `rate` is the share of defects."""

    time: datetime
    line: str
    inspected: int
    review: int
    defects: int
    rate: float


class DefectRate(Answer):
    """`seconds` is the length of an interval; intervals without frames are left out."""

    seconds: int
    points: list[RatePoint]


class DefectType(Shape):
    """Incidents that operators confirmed with this type; shares are of all confirmed ones."""

    defect_type: str
    incidents: int
    frames: int
    cameras: int
    share: float
    cumulative: float


class Pareto(Answer):
    """`confirmed` + `false_alarms` + `unanswered` are all incidents of the time."""

    types: list[DefectType]
    confirmed: int
    false_alarms: int
    unanswered: int


class ControlPoint(Shape):
    """One subgroup; `rules` are those whose pattern it completes. Limits are null where it has no data."""

    time: datetime
    size: int
    value: float | None
    lower: float | None
    upper: float | None
    rules: list[str]
    detector_version: str


class Control(Shape):
    """One control chart; `spread` is the factor by which its limits were widened, 1 where they were not."""

    center: float
    spread: float
    points: list[ControlPoint]

    @property
    def marked(self) -> list[ControlPoint]:
        """The points that break a rule."""
        return [point for point in self.points if point.rules]


class Fractions(Answer):
    """A p chart."""

    seconds: int
    rules: RuleSet
    baseline_since: datetime
    baseline_until: datetime
    chart: Control


class Subgroups(Answer):
    """X̄ and S charts of the scores of one camera."""

    seconds: int
    rules: RuleSet
    baseline_since: datetime
    baseline_until: datetime
    mean: Control
    deviation: Control


class LineMetrics(Shape):
    """Figures of a line, or of one of its cameras; shares are null where nothing can be divided.

    Minutes are of planned time: `running` had an inspected frame, `silent` neither frame nor heartbeat, and in the rest
    the camera was there and saw nothing. `planned_rate` is in frames a minute.
    """

    line: str
    camera: str | None
    planned_minutes: int
    running_minutes: int
    silent_minutes: int
    frames: int
    ok: int
    planned_rate: float
    availability: float | None
    performance: float | None
    quality: float | None
    oee: float | None


class Oee(Answer):
    lines: list[LineMetrics]
    cameras: list[LineMetrics]


class DriftPoint(Shape):
    """One window of one measure; `value` is null where there were too few frames or nothing varied."""

    window_start: datetime
    window_end: datetime
    frames: int
    mean: float | None
    reference_mean: float | None
    value: float | None
    watch: float
    act: float
    status: str


class DriftSeries(Shape):
    """One figure of one camera, oldest window first; `status` is that of the last."""

    camera: str
    product: str
    detector_version: str
    measure: str
    statistic: str
    status: str
    points: list[DriftPoint]


class Drift(Answer):
    series: list[DriftSeries]


class Bar(Shape):
    """Frames with a score from `low` to below `high`, by what is known of them."""

    low: float
    high: float
    good: int
    defective: int
    unknown: int


class Verdicts(Shape):
    """Frames by verdict."""

    ok: int
    review: int
    defect: int


class Changed(Shape):
    """Frames whose verdict would be another one, by what is known of them."""

    good: int
    defective: int
    unknown: int


class ThresholdEffect(Answer):
    """What another threshold would have made of the same frames.

    `no_longer` are frames that were called a defect and would not be, `newly` the other way round. `known` are frames
    with a truth, from operators' answers and from labels. `alerts_left` are incidents that would still hold a frame
    over the threshold; null below the threshold that was used, since new incidents cannot be told.
    """

    product: str
    detector_version: str
    frames: int
    known: int
    known_by_operators: int
    used_threshold: float
    used_review: float | None
    threshold: float
    review: float
    then: Verdicts
    now: Verdicts
    no_longer: Changed
    newly: Changed
    alerts: int
    alerts_left: int | None
    histogram: list[Bar]
    others: list[str]


class Stage(Shape):
    """One step of a part's way; `milliseconds` since the step before it."""

    name: str
    at: datetime
    milliseconds: float | None


class Neighbour(Shape):
    """A frame of the same camera beside this one."""

    inspection_id: str
    sequence: int
    captured_at: datetime
    verdict: str
    score: float
    href: str


class Challenger(Shape):
    """What the challenger said of the same frame."""

    version: str
    score: float | None
    threshold: float
    verdict: str | None
    error: str | None


class Part(BaseModel):
    """All that is known of one frame, from capture to what operators said of its incident."""

    inspection: InspectionSummary
    stages: list[Stage]
    total_milliseconds: float | None
    archived: bool
    alert: AlertSummary | None
    actions: list[Action]
    challenger: Challenger | None
    neighbours: list[Neighbour]
    notes: list[str]
