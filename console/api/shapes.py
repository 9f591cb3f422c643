"""What the API answers, as it stands in the OpenAPI document. Times are UTC, boxes pixels of the frame as captured."""

from __future__ import annotations

import base64
from datetime import datetime
from typing import Annotated, Any, Generic, TypeVar

from pydantic import BaseModel, ConfigDict, PlainSerializer, WithJsonSchema

from console.api.roles import Role
from sightline.contracts import ActionKind, AlertState, Severity, Verdict

Picture = Annotated[
    bytes,
    PlainSerializer(lambda data: base64.b64encode(data).decode(), return_type=str),
    WithJsonSchema({"type": "string", "contentEncoding": "base64"}),
]
"""Bytes, in base64 on the wire."""

Item = TypeVar("Item", bound=BaseModel)


class Shape(BaseModel):
    """Made from rows of the tables and from contracts alike; columns that are not named here are left out."""

    model_config = ConfigDict(from_attributes=True)


class Page(BaseModel, Generic[Item]):
    """Some of the rows; `next` is the `cursor` of the following page, null on the last one."""

    items: list[Item]
    next: str | None


class DetectorRef(Shape):
    name: str
    version: str
    digest: str


class Region(Shape):
    x: int
    y: int
    width: int
    height: int
    peak: float


class HeatMap(Shape):
    """`values` are rows × cols bytes in base64, row by row; 255 is `scale` and above."""

    rows: int
    cols: int
    scale: float
    values: Picture


class Quality(Shape):
    blur: float
    exposure: float


class Timings(Shape):
    ingested_at: datetime
    decoded_at: datetime
    scored_at: datetime
    published_at: datetime | None


class InspectionSummary(Shape):
    """One inspected frame; `href` has everything of it."""

    inspection_id: str
    line: str
    camera: str
    sequence: int
    captured_at: datetime
    product: str
    score: float
    threshold: float
    verdict: Verdict
    detector: DetectorRef
    label: str | None
    href: str


class InspectionDetail(InspectionSummary):
    width: int
    height: int
    regions: list[Region]
    heat_map: HeatMap
    quality: Quality
    timings: Timings
    thumbnail: Picture | None


class AlertSummary(Shape):
    """One incident as of its last revision, and what operators last said of it."""

    alert_id: str
    revision: int
    state: AlertState
    severity: Severity
    line: str
    camera: str
    product: str
    opened_at: datetime
    updated_at: datetime
    first_sequence: int
    last_sequence: int
    count: int
    peak_score: float
    peak_sequence: int
    threshold: float
    detector: DetectorRef
    answer: ActionKind | None = None
    answered_by: str | None = None
    muted_until: datetime | None = None
    """Where a mute or a maintenance window holds this revision back from those outside: until when."""


class Action(Shape):
    action_id: str
    alert_id: str
    kind: ActionKind
    actor: str
    at: datetime
    defect_type: str | None
    comment: str | None


class AlertDetail(AlertSummary):
    regions: list[Region]
    thumbnail: Picture | None
    actions: list[Action]


class MuteInfo(Shape):
    """A mute or a maintenance window: alerts of this place and severity are not sent out; null stands for all."""

    mute_id: str
    kind: ActionKind
    actor: str
    set_at: datetime
    starts_at: datetime
    ends_at: datetime
    line: str | None
    camera: str | None
    product: str | None
    severity: Severity | None
    comment: str | None
    ended_by: str | None = None


class Mutes(BaseModel):
    items: list[MuteInfo]


class Camera(Shape):
    """One camera: `inspected`, `defects` and `review` count the last day of its line."""

    camera: str
    line: str | None
    product: str | None
    last_frame_at: datetime | None
    last_event: str | None
    last_event_at: datetime | None
    inspected: int
    review: int
    defects: int
    dropped: int


class Cameras(BaseModel):
    items: list[Camera]


class Table(Shape):
    """`size` in bytes, as of `version`."""

    name: str
    comment: str
    rows: int
    files: int
    size: int
    version: int
    committed_at: datetime


class Tables(BaseModel):
    items: list[Table]


class Column(Shape):
    path: str
    type: str
    comment: str


class TableDetail(Table):
    columns: list[Column]


class Detector(Shape):
    """A registered version; the one with the alias `champion` judges its product."""

    product: str
    name: str
    version: str
    digest: str
    aliases: list[str]
    created_at: datetime
    metrics: dict[str, float]
    params: dict[str, str]


class Detectors(BaseModel):
    items: list[Detector]


class DetectorDetail(Detector):
    """`card` is the bundle's `detector.json`."""

    card: dict[str, Any]


class Champion(Shape):
    product: str
    name: str
    version: str
    digest: str


class Judgement(Shape):
    """What a detector says of one picture; `milliseconds` is what its batch took in the runtime, `batch` its size."""

    product: str
    detector: DetectorRef
    width: int
    height: int
    score: float
    threshold: float
    verdict: Verdict
    regions: list[Region]
    heat_map: HeatMap
    quality: Quality
    thumbnail: Picture | None
    milliseconds: float
    batch: int


class SessionInfo(BaseModel):
    """Who is logged in; `csrf` goes into the header of every request that changes something."""

    name: str
    role: Role
    kind: str
    csrf: str | None = None
    expires_at: datetime | None = None


class Health(BaseModel):
    """`parts` says of each part what is wrong with it, null when nothing is."""

    status: str
    parts: dict[str, str | None] = {}


class Audited(Shape):
    at: datetime
    event: str
    actor: str
    ok: bool
    remote: str | None
    details: dict[str, Any]


class AuditPage(BaseModel):
    items: list[Audited]
