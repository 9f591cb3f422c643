"""The contracts as Spark types, every column with a comment; a test holds them equal to `sightline.contracts`.

A field is nullable here exactly where its contract allows None. Comments become Delta column comments and the pages
of docs/tables.md; they give units and ranges.
"""

from __future__ import annotations

from enum import StrEnum

from pyspark.sql.types import (
    ArrayType,
    BinaryType,
    DataType,
    DoubleType,
    LongType,
    StringType,
    StructField,
    StructType,
    TimestampType,
)

from sightline.contracts import (
    ActionKind,
    AlertState,
    CameraEventKind,
    DropReason,
    Reason,
    Severity,
    Verdict,
)

TEXT, COUNT, REAL, BYTES, TIME = StringType(), LongType(), DoubleType(), BinaryType(), TimestampType()


def column(name: str, kind: DataType, comment: str, *, optional: bool = False) -> StructField:
    """One documented column; `optional` where it may be NULL."""
    return StructField(name, kind, optional, {"comment": comment})


def _one_of(values: type[StrEnum]) -> str:
    return ", ".join(value.value for value in values)


LINE = column("line", TEXT, "Production line that the camera belongs to")
CAMERA = column("camera", TEXT, "Camera; one camera's frames are in order")
SEQUENCE = column("sequence", COUNT, "Number of the frame at its camera, from 0, without gaps, dropped frames included")
CAPTURED_AT = column("captured_at", TIME, "When the camera took the frame (UTC, to the microsecond)")
PRODUCT = column("product", TEXT, "Product on the line, which chooses the detector")
WIDTH = column("width", COUNT, "Width of the frame in pixels")
HEIGHT = column("height", COUNT, "Height of the frame in pixels")
LABEL = column(
    "label",
    TEXT,
    "Known truth where the source has one: good or a type of defect; never seen by the detector",
    optional=True,
)
VERDICT = column("verdict", TEXT, f"What the detector says: {_one_of(Verdict)}")
VERSION = column("schema_version", COUNT, "Version of the contract that the writer followed")

REGIONS = ArrayType(
    StructType(
        [
            column("x", COUNT, "Left edge, pixels of the frame from its left"),
            column("y", COUNT, "Upper edge, pixels of the frame from its top"),
            column("width", COUNT, "Width in pixels"),
            column("height", COUNT, "Height in pixels"),
            column("peak", REAL, "Highest value of the anomaly map inside, in the unit of score"),
        ]
    )
)

DETECTOR = StructType(
    [
        column("name", TEXT, "Registered name of the detector"),
        column("version", TEXT, "Version in the model registry"),
        column("digest", TEXT, "SHA-256 of the detector's bundle, in hex"),
    ]
)

SOURCE = StructType(
    [
        column("topic", TEXT, "Kafka topic"),
        column("partition", COUNT, "Partition of the topic"),
        column("offset", COUNT, "Offset in the partition"),
    ]
)

QUALITY = StructType(
    [
        column("blur", REAL, "Variance of the Laplacian of the picture; small is blurred"),
        column("exposure", REAL, "Mean luminance, 0 (black) to 255 (white)"),
    ]
)

TIMINGS = StructType(
    [
        column("ingested_at", TIME, "When the broker took in the frame"),
        column("decoded_at", TIME, "When the picture was decoded"),
        column("scored_at", TIME, "When the detector had judged it"),
        column(
            "published_at", TIME, "When the broker took in the verdict; minus captured_at: the latency", optional=True
        ),
    ]
)

HEAT_MAP = StructType(
    [
        column("rows", COUNT, "Rows of the map"),
        column("cols", COUNT, "Columns of the map"),
        column("scale", REAL, "Anomaly value that 255 stands for"),
        column("values", BYTES, "rows × cols bytes, row by row, 0 to 255"),
    ]
)

HEADERS = ArrayType(
    StructType(
        [
            column("key", TEXT, "Name of the header"),
            column("value", BYTES, "Its bytes, untouched"),
        ]
    )
)

INSPECTION = StructType(
    [
        column("inspection_id", TEXT, "Digest of camera, sequence, captured_at and detector version"),
        LINE,
        CAMERA,
        SEQUENCE,
        CAPTURED_AT,
        PRODUCT,
        WIDTH,
        HEIGHT,
        column("score", REAL, "Anomaly score of the frame, in the detector's own unit; compare it with threshold"),
        column("threshold", REAL, "Score from which this detector said defect"),
        VERDICT,
        column("detector", DETECTOR, "Which detector judged"),
        column("quality", QUALITY, "Facts about the picture itself"),
        column("timings", TIMINGS, "When each stage was done (UTC)"),
        column("source", SOURCE, "Where the frame stood in Kafka"),
        column("heat_map", HEAT_MAP, "The anomaly map over the whole frame, as bytes; 0 outside a camera's region"),
        column("regions", REGIONS, "Boxes around the anomalous areas; empty when the verdict is ok"),
        LABEL,
        column("thumbnail", BYTES, "JPEG of the frame under its heat map, for defects", optional=True),
        VERSION,
    ]
)

SHADOW_INSPECTION = StructType(
    [
        column("inspection_id", TEXT, "Digest of camera, sequence, captured_at and the challenger's version"),
        LINE,
        CAMERA,
        SEQUENCE,
        CAPTURED_AT,
        PRODUCT,
        column("threshold", REAL, "Score from which the challenger says defect"),
        column("detector", DETECTOR, "The challenger"),
        column("scored_at", TIME, "When the challenger was done (UTC)"),
        column("milliseconds", REAL, "Time that the challenger took, the frame's share of its batch"),
        column("score", REAL, "Its score, in its own unit; NULL where it failed", optional=True),
        column("verdict", TEXT, f"What it would have said: {_one_of(Verdict)}; NULL where it failed", optional=True),
        column("regions", REGIONS, "Boxes around the areas that it finds anomalous; empty when it says ok"),
        LABEL,
        column("thumbnail", BYTES, "JPEG of the frame under its heat map, where it says defect", optional=True),
        column("error", TEXT, "How it failed on this frame", optional=True),
        VERSION,
    ]
)

ALERT = StructType(
    [
        column("alert_id", TEXT, "Digest of the camera and the first defect; one per incident"),
        column("revision", COUNT, "Grows by one with each change of the incident; the table has the last"),
        column("state", TEXT, f"State of the incident: {_one_of(AlertState)}"),
        column("severity", TEXT, f"How bad it is, never falling within an incident: {_one_of(Severity)}"),
        LINE,
        column("camera", TEXT, "Camera that saw the incident"),
        column("product", TEXT, "Product in the frame of the peak"),
        column("opened_at", TIME, "When the first defect was captured (UTC)"),
        column("updated_at", TIME, "When the last frame that this revision speaks of was captured (UTC)"),
        column("first_sequence", COUNT, "Frame of the first defect"),
        column("last_sequence", COUNT, "Frame of the last defect"),
        column("count", COUNT, "Defective frames so far"),
        column("peak_score", REAL, "Highest score of the incident"),
        column("peak_sequence", COUNT, "Frame with that score"),
        column("threshold", REAL, "Threshold that the peak was judged by"),
        column("detector", DETECTOR, "Detector that judged the peak"),
        column("regions", REGIONS, "Boxes in the frame of the peak"),
        column("thumbnail", BYTES, "JPEG of the frame of the peak under its heat map", optional=True),
        VERSION,
    ]
)

MUTE = StructType(
    [
        column("starts_at", TIME, "From when on (UTC)"),
        column("ends_at", TIME, "Until when, unless it is ended before (UTC)"),
        column("line", TEXT, "Line whose alerts are held back; NULL for all", optional=True),
        column("camera", TEXT, "Camera whose alerts are held back; NULL for all", optional=True),
        column("product", TEXT, "Product whose alerts are held back; NULL for all", optional=True),
        column("severity", TEXT, f"Severity that is held back, {_one_of(Severity)}; NULL for both", optional=True),
    ]
)

OPERATOR_ACTION = StructType(
    [
        column("action_id", TEXT, "Identity of the action"),
        column("alert_id", TEXT, "Alert that it is about; of a mute, the mute's own id"),
        column("kind", TEXT, f"What was done: {_one_of(ActionKind)}"),
        column("actor", TEXT, "Who did it"),
        column("at", TIME, "When (UTC)"),
        column("defect_type", TEXT, "Type of the defect, where one was confirmed", optional=True),
        column("comment", TEXT, "In the operator's words", optional=True),
        column(
            "mute", MUTE, "What is not sent out and when, where a mute or a maintenance window is set", optional=True
        ),
        VERSION,
    ]
)

CAMERA_EVENT = StructType(
    [
        column("event_id", TEXT, "Identity of the event"),
        LINE,
        column("camera", TEXT, "Camera that it is about"),
        column("kind", TEXT, f"What happened: {_one_of(CameraEventKind)}"),
        column("at", TIME, "When (UTC)"),
        column("next_sequence", COUNT, "Frames that the camera had captured by then"),
        column("first_sequence", COUNT, "First frame of the range that was dropped or is in doubt", optional=True),
        column("last_sequence", COUNT, "Last frame of that range, included", optional=True),
        column("reason", TEXT, f"Why frames were dropped: {_one_of(DropReason)}", optional=True),
        column("message", TEXT, "For people", optional=True),
        VERSION,
    ]
)

DEAD_LETTER = StructType(
    [
        column("reason", TEXT, f"Why the record could not be used: {_one_of(Reason)}"),
        column("message", TEXT, "The same for people, with the value at fault"),
        column(
            "stage", TEXT, "Process that gave up: score for frames; history for events that are not in their contract"
        ),
        column("source", SOURCE, "Where the record stood in Kafka"),
        column("ingested_at", TIME, "When the broker took in the record (UTC)"),
        column("value", BYTES, "Its bytes, untouched", optional=True),
        column("key", BYTES, "Its key, untouched", optional=True),
        column("headers", HEADERS, "Its headers, in their order"),
        column("camera", TEXT, "Camera, as far as the record told", optional=True),
        column("sequence", COUNT, "Number of the frame, as far as the record told", optional=True),
    ]
)

ARCHIVED_FRAME = StructType(
    [
        column("inspection_id", TEXT, "Inspection of this frame, as in the table inspections"),
        LINE,
        CAMERA,
        SEQUENCE,
        CAPTURED_AT,
        PRODUCT,
        WIDTH,
        HEIGHT,
        LABEL,
        VERDICT,
        column("jpeg", BYTES, "The frame as the camera sent it"),
    ]
)

DRIFT = StructType(
    [
        column("camera", TEXT, "Camera that is watched"),
        PRODUCT,
        column("detector_version", TEXT, "Version of the detector that judged; another one has another reference"),
        column("detector_digest", TEXT, "SHA-256 of its bundle, in hex"),
        column("window_start", TIME, "Begin of the time that is compared (UTC)"),
        column("window_end", TIME, "End of it, excluded; a window that has not ended is computed anew until it has"),
        column("measure", TEXT, "What is compared: score, blur, exposure, embedding"),
        column("statistic", TEXT, "By which figure: psi, wasserstein, mahalanobis"),
        column("frames", COUNT, "Frames in the window: all inspected ones, of embedding the archived ones in use"),
        column("reference_frames", COUNT, "Frames that they are compared with"),
        column("reference_start", TIME, "First frame of the reference (UTC)"),
        column("reference_end", TIME, "End of the reference, excluded"),
        column("mean", REAL, "Mean of the measure in the window; NULL for embedding", optional=True),
        column("reference_mean", REAL, "Mean of the measure in the reference; NULL for embedding", optional=True),
        column("value", REAL, "The figure; NULL where there are too few frames or nothing varies", optional=True),
        column("watch", REAL, "Limit from which the status is watch"),
        column("act", REAL, "Limit from which the status is drift"),
        column(
            "chance",
            REAL,
            "What one in a hundred windows of this size shows where nothing changed; no smaller value counts",
            optional=True,
        ),
        column("status", TEXT, "What it comes to: ok, watch, drift, too few, no spread"),
        column("computed_at", TIME, "When this row was computed (UTC)"),
    ]
)
