"""Example events, complete and valid: what the documents show and what tests vary with `dataclasses.replace`."""

from __future__ import annotations

from base64 import b64decode
from datetime import UTC, datetime, timedelta

from sightline.codec import digest_id
from sightline.contracts import (
    ActionKind,
    Alert,
    AlertState,
    CameraEvent,
    CameraEventKind,
    DeadLetter,
    DetectorRef,
    DropReason,
    Frame,
    HeatMap,
    Inspection,
    Mute,
    OperatorAction,
    Quality,
    Reason,
    Region,
    Severity,
    ShadowInspection,
    SourceOffset,
    Timings,
    Verdict,
)

START = datetime(2026, 3, 2, 6, 30, tzinfo=UTC)
"""When sequence 0 of every sample camera was captured; the cameras take ten frames a second."""

DETECTOR = DetectorRef(name="sightline.bottle_cap", version="3", digest="5f" * 32)
THRESHOLD = 0.62
CHALLENGER = DetectorRef(name="sightline.bottle_cap", version="4", digest="7a" * 32)

# a grey picture of one pixel
JPEG = b64decode(
    "/9j/4AAQSkZJRgABAQAAAQABAAD/2wBDABsSFBcUERsXFhceHBsgKEIrKCUlKFE6PTBCYFVlZF9VXVtqeJmBanGQc1tdhbWGkJ6jq62rZ4C8ybqm"
    "x5moq6T/wAALCAABAAEBAREA/8QAHwAAAQUBAQEBAQEAAAAAAAAAAAECAwQFBgcICQoL/8QAtRAAAgEDAwIEAwUFBAQAAAF9AQIDAAQRBRIhMUEG"
    "E1FhByJxFDKBkaEII0KxwRVS0fAkM2JyggkKFhcYGRolJicoKSo0NTY3ODk6Q0RFRkdISUpTVFVWV1hZWmNkZWZnaGlqc3R1dnd4eXqDhIWGh4iJ"
    "ipKTlJWWl5iZmqKjpKWmp6ipqrKztLW2t7i5usLDxMXGx8jJytLT1NXW19jZ2uHi4+Tl5ufo6erx8vP09fb3+Pn6/9oACAEBAAA/ACv/2Q=="
)


def frame(camera: str = "cam-1", sequence: int = 0, *, label: str | None = None) -> Frame:
    """One frame as its camera published it."""
    return Frame(
        line="line-a",
        camera=camera,
        sequence=sequence,
        captured_at=START + timedelta(seconds=sequence / 10),
        product="bottle_cap",
        width=640,
        height=480,
        jpeg=JPEG,
        label=label,
    )


def inspection(
    camera: str = "cam-1",
    sequence: int = 0,
    *,
    score: float = 0.18,
    verdict: Verdict = Verdict.OK,
    label: str | None = None,
    offset: int | None = None,
) -> Inspection:
    """The verdict on `frame(camera, sequence)`, read at `offset` (by default the sequence) of partition 0."""
    seen = frame(camera, sequence)
    captured = seen.captured_at
    regions = (Region(x=212, y=96, width=54, height=31, peak=score),) if verdict is Verdict.DEFECT else ()
    return Inspection(
        inspection_id=digest_id(camera, sequence, captured, DETECTOR.version),
        line=seen.line,
        camera=camera,
        sequence=sequence,
        captured_at=captured,
        product=seen.product,
        width=seen.width,
        height=seen.height,
        score=score,
        threshold=THRESHOLD,
        verdict=verdict,
        detector=DETECTOR,
        quality=Quality(blur=412.0, exposure=118.5),
        timings=Timings(
            ingested_at=captured + timedelta(milliseconds=14),
            decoded_at=captured + timedelta(milliseconds=121),
            scored_at=captured + timedelta(milliseconds=149),
            published_at=captured + timedelta(milliseconds=162),
        ),
        source=SourceOffset(topic="frames", partition=0, offset=sequence if offset is None else offset),
        heat_map=HeatMap(rows=2, cols=3, scale=1.0, values=bytes([4, 9, 30, 12, 210, 44])),
        regions=regions,
        label=label,
        thumbnail=JPEG if verdict is Verdict.DEFECT else None,
    )


def shadow_inspection(
    camera: str = "cam-1",
    sequence: int = 0,
    *,
    score: float | None = 0.21,
    verdict: Verdict | None = Verdict.OK,
    label: str | None = None,
    error: str | None = None,
) -> ShadowInspection:
    """What the challenger says of `frame(camera, sequence)`; with `error`, neither score nor verdict."""
    seen = frame(camera, sequence)
    found = verdict is Verdict.DEFECT and score is not None and error is None
    return ShadowInspection(
        inspection_id=digest_id(camera, sequence, seen.captured_at, CHALLENGER.version),
        line=seen.line,
        camera=camera,
        sequence=sequence,
        captured_at=seen.captured_at,
        product=seen.product,
        threshold=0.55,
        detector=CHALLENGER,
        scored_at=seen.captured_at + timedelta(milliseconds=171),
        milliseconds=11.5,
        score=None if error else score,
        verdict=None if error else verdict,
        regions=(Region(x=208, y=94, width=60, height=34, peak=score),) if found and score is not None else (),
        label=label,
        thumbnail=JPEG if found else None,
        error=error,
    )


def alert(
    camera: str = "cam-1", sequence: int = 40, *, revision: int = 0, state: AlertState = AlertState.OPENED
) -> Alert:
    """The incident that began with `sequence` on `camera`; a later `revision` has seen more frames."""
    opened = frame(camera, sequence).captured_at
    return Alert(
        alert_id=digest_id(camera, sequence, opened),
        revision=revision,
        state=state,
        severity=Severity.CRITICAL if revision else Severity.WARNING,
        line="line-a",
        camera=camera,
        product="bottle_cap",
        opened_at=opened,
        updated_at=opened + timedelta(seconds=revision * 1.2),
        first_sequence=sequence,
        last_sequence=sequence + revision * 12,
        count=3 + revision * 9,
        peak_score=0.913,
        peak_sequence=sequence,
        threshold=THRESHOLD,
        detector=DETECTOR,
        regions=(Region(x=212, y=96, width=54, height=31, peak=0.913),),
        thumbnail=JPEG,
    )


def operator_action() -> OperatorAction:
    """What an operator said about `alert()`."""
    return OperatorAction(
        action_id=digest_id("action", 1),
        alert_id=alert().alert_id,
        kind=ActionKind.CONFIRM,
        actor="m.keller",
        at=START + timedelta(minutes=2),
        defect_type="scratch",
        comment="tool 4 changed",
    )


def muting(*, hours: float = 2.0) -> OperatorAction:
    """A mute of the warnings of one camera, set when `alert()` opened."""
    starts = alert().opened_at
    return OperatorAction(
        action_id=digest_id("action", 2),
        alert_id=digest_id("mute", 2),
        kind=ActionKind.MUTE,
        actor="m.keller",
        at=starts,
        comment="belt is being cleaned",
        mute=Mute(starts_at=starts, ends_at=starts + timedelta(hours=hours), camera="cam-1", severity=Severity.WARNING),
    )


def camera_event(
    camera: str = "cam-1",
    kind: CameraEventKind = CameraEventKind.DROPPED,
    *,
    next_sequence: int = 128,
    first: int | None = None,
    last: int | None = None,
    reason: DropReason | None = None,
) -> CameraEvent:
    """A producer's report; of a dropped range if `first` and `last` say so."""
    return CameraEvent(
        event_id=digest_id(camera, kind, next_sequence, first, last),
        line="line-a",
        camera=camera,
        kind=kind,
        at=frame(camera, next_sequence).captured_at,
        next_sequence=next_sequence,
        first_sequence=first,
        last_sequence=last,
        reason=reason,
    )


def dead_letter(camera: str | None = "cam-1", sequence: int | None = 41, *, offset: int = 41) -> DeadLetter:
    """A record with a JPEG's header and no JPEG behind it; without a camera, one that nobody can place."""
    headers = ((("ce_camera", camera.encode()),) if camera is not None else ()) + (
        (("ce_sequence", str(sequence).encode()),) if sequence is not None else ()
    )
    return DeadLetter(
        reason=Reason.TRUNCATED,
        message="the JPEG ends after 20 of its 48,112 bytes",
        stage="decode",
        source=SourceOffset(topic="frames", partition=0, offset=offset),
        ingested_at=START + timedelta(seconds=5),
        value=JPEG[:20],
        key=camera.encode() if camera is not None else None,
        headers=headers,
        camera=camera,
        sequence=sequence,
    )
