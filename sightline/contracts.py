"""The events that travel between processes: frozen, versioned, without behaviour.

`sightline.codec` turns them into bytes and back; `streaming.schemas` mirrors them as Spark types; JSON Schema and the
AsyncAPI document are generated from them. All times are UTC and aware, to the microsecond. Boxes are in pixels of the
frame as captured, origin at the top left.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum

SCHEMA_VERSION = 1


class Verdict(StrEnum):
    """What the detector says of one frame."""

    OK = "ok"
    REVIEW = "review"
    DEFECT = "defect"


class Reason(StrEnum):
    """Why a frame became a dead letter."""

    MISSING_HEADER = "missing-header"
    BAD_HEADER = "bad-header"
    UNKNOWN_SCHEMA = "unknown-schema"
    EMPTY = "empty"
    NOT_JPEG = "not-jpeg"
    TRUNCATED = "truncated"
    UNDECODABLE = "undecodable"
    TOO_LARGE = "too-large"
    SIZE_MISMATCH = "size-mismatch"
    NO_DETECTOR = "no-detector"
    SCORING_FAILED = "scoring-failed"


class DropReason(StrEnum):
    """Why a captured frame was not judged: all but `overload` never reached the broker."""

    QUEUE_FULL = "queue-full"
    NOT_DELIVERED = "not-delivered"
    OVERSIZE = "oversize"
    UNREADABLE = "unreadable"
    PRODUCER_CRASH = "producer-crash"
    OVERLOAD = "overload"


class AlertState(StrEnum):
    OPENED = "opened"
    UPDATED = "updated"
    CLOSED = "closed"


class Severity(StrEnum):
    WARNING = "warning"
    CRITICAL = "critical"


class ActionKind(StrEnum):
    ACKNOWLEDGE = "acknowledge"
    CONFIRM = "confirm"
    FALSE_ALARM = "false-alarm"
    COMMENT = "comment"
    MUTE = "mute"
    MAINTENANCE = "maintenance"
    END_MUTE = "end-mute"


class CameraEventKind(StrEnum):
    """What is reported about one camera: `shed` by the score query, the others by its producer."""

    CONNECTED = "connected"
    DISCONNECTED = "disconnected"
    HEARTBEAT = "heartbeat"
    DROPPED = "dropped"
    IN_DOUBT = "in-doubt"
    SHED = "shed"
    STOPPED = "stopped"


@dataclass(frozen=True, slots=True, kw_only=True)
class Frame:
    """One picture of one part.

    On Kafka the value is `jpeg` as it is; everything else stands in CloudEvents headers; the key is `camera`.
    `sequence` counts every frame that the camera captured, from 0 and without gaps, dropped ones included.
    `label` is the known truth (`good` or a defect type) when the source has one; it is carried, never scored.
    """

    line: str
    camera: str
    sequence: int
    captured_at: datetime
    product: str
    width: int
    height: int
    jpeg: bytes
    label: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Region:
    """A box around one connected anomalous area, with the highest map value inside."""

    x: int
    y: int
    width: int
    height: int
    peak: float


@dataclass(frozen=True, slots=True, kw_only=True)
class HeatMap:
    """The anomaly map over the whole frame, quantised: row-major uint8 of `rows` × `cols`; 255 is `scale` and above.

    It is 0 outside the region of a camera that has one.
    """

    rows: int
    cols: int
    scale: float
    values: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Quality:
    """Facts about the picture: `blur` is the variance of the Laplacian, `exposure` the mean luminance 0…255."""

    blur: float
    exposure: float


@dataclass(frozen=True, slots=True, kw_only=True)
class DetectorRef:
    """Which detector judged: registry name, version and SHA-256 of its bundle."""

    name: str
    version: str
    digest: str


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceOffset:
    """Where in Kafka a record was read."""

    topic: str
    partition: int
    offset: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Timings:
    """When each stage was done; `published_at` is the broker's stamp, unknown to the writer itself."""

    ingested_at: datetime
    decoded_at: datetime
    scored_at: datetime
    published_at: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Inspection:
    """The verdict on one frame, and everything needed to trust or dispute it."""

    inspection_id: str
    line: str
    camera: str
    sequence: int
    captured_at: datetime
    product: str
    width: int
    height: int
    score: float
    threshold: float
    verdict: Verdict
    detector: DetectorRef
    quality: Quality
    timings: Timings
    source: SourceOffset
    heat_map: HeatMap
    regions: tuple[Region, ...] = ()
    label: str | None = None
    thumbnail: bytes | None = None
    schema_version: int = SCHEMA_VERSION


@dataclass(frozen=True, slots=True, kw_only=True)
class ShadowInspection:
    """What the challenger says of a frame that the champion has judged; nothing follows from it.

    `inspection_id` is made as that of an Inspection, of the challenger's version. `milliseconds` is the frame's share
    of the time that the challenger took for its batch. Where the challenger failed, `error` says how, and score and
    verdict are None.
    """

    inspection_id: str
    line: str
    camera: str
    sequence: int
    captured_at: datetime
    product: str
    threshold: float
    detector: DetectorRef
    scored_at: datetime
    milliseconds: float
    score: float | None = None
    verdict: Verdict | None = None
    regions: tuple[Region, ...] = ()
    label: str | None = None
    thumbnail: bytes | None = None
    error: str | None = None
    schema_version: int = SCHEMA_VERSION


@dataclass(frozen=True, slots=True, kw_only=True)
class Alert:
    """One incident on one camera, from its first defect to its close; `revision` grows with each change."""

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
    regions: tuple[Region, ...] = ()
    thumbnail: bytes | None = None
    schema_version: int = SCHEMA_VERSION


@dataclass(frozen=True, slots=True, kw_only=True)
class Mute:
    """Which alerts are recorded but not sent out, and when: None stands for every line, camera, product, severity."""

    starts_at: datetime
    ends_at: datetime
    line: str | None = None
    camera: str | None = None
    product: str | None = None
    severity: Severity | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class OperatorAction:
    """What a person said about an alert, or a mute that a person set or ended. An event, never an update.

    Of a mute, `alert_id` is the mute's own id, the same where it is ended; `mute` stands where one is set.
    """

    action_id: str
    alert_id: str
    kind: ActionKind
    actor: str
    at: datetime
    defect_type: str | None = None
    comment: str | None = None
    mute: Mute | None = None
    schema_version: int = SCHEMA_VERSION


@dataclass(frozen=True, slots=True, kw_only=True)
class DeadLetter:
    """A record that could not be judged: its bytes untouched, and why.

    `headers` are the original ones in their order. `camera` and `sequence` are None where the record did not tell.
    """

    reason: Reason
    message: str
    stage: str
    source: SourceOffset
    ingested_at: datetime
    value: bytes | None
    key: bytes | None = None
    headers: tuple[tuple[str, bytes], ...] = field(default=())
    camera: str | None = None
    sequence: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class CameraEvent:
    """A report about one camera: health, and the frames that were dropped, left out, or cannot be vouched for.

    `first_sequence`…`last_sequence` is the closed range that `dropped`, `in-doubt` and `shed` speak of. An `in-doubt`
    frame was handed to the broker by a producer that died before the answer, a `shed` one was left out by a score query
    that had too many: both count as dropped unless they are judged after all.
    `next_sequence` is the number of frames that the camera has captured so far.
    """

    event_id: str
    line: str
    camera: str
    kind: CameraEventKind
    at: datetime
    next_sequence: int
    first_sequence: int | None = None
    last_sequence: int | None = None
    reason: DropReason | None = None
    message: str | None = None
    schema_version: int = SCHEMA_VERSION


Event = Inspection | ShadowInspection | Alert | OperatorAction | CameraEvent
