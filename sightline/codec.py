"""Contracts to Kafka records and back, in one place.

Frames and dead letters carry their payload untouched and their facts in headers (CloudEvents 1.0.2, Kafka protocol
binding, binary mode; dead letters add Kafka Connect's `__connect.errors.*`). All other events are JSON, with bytes in
base64 and times in RFC 3339.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from typing import TypeVar

import msgspec

from sightline.contracts import (
    SCHEMA_VERSION,
    Alert,
    CameraEvent,
    DeadLetter,
    Event,
    Frame,
    Inspection,
    OperatorAction,
    Reason,
    ShadowInspection,
    SourceOffset,
)
from sightline.errors import FrameError, SightlineError

E = TypeVar("E", Inspection, ShadowInspection, Alert, OperatorAction, CameraEvent)
Headers = list[tuple[str, bytes]]

FRAME_TYPE = f"io.sightline.frame.v{SCHEMA_VERSION}"
EVENT_TYPES: Mapping[type[Event], str] = {
    Inspection: f"io.sightline.inspection.v{SCHEMA_VERSION}",
    ShadowInspection: f"io.sightline.shadow-inspection.v{SCHEMA_VERSION}",
    Alert: f"io.sightline.alert.v{SCHEMA_VERSION}",
    OperatorAction: f"io.sightline.operator-action.v{SCHEMA_VERSION}",
    CameraEvent: f"io.sightline.camera-event.v{SCHEMA_VERSION}",
}

MAX_NAME = 128
"""Longest line, camera, product or label, in characters."""

_CONNECT = "__connect.errors."
_REASON = "sightline.reason"
_INGESTED = "sightline.ingested"
_encoder = msgspec.json.Encoder()


def digest_id(*parts: object) -> str:
    """A 128-bit id in hex that depends on nothing but `parts`, so that a replay makes the same one."""
    text = "\x1f".join(part.isoformat() if isinstance(part, datetime) else str(part) for part in parts)
    return hashlib.blake2b(text.encode(), digest_size=16).hexdigest()


def encode(event: Event) -> bytes:
    """JSON bytes of an event."""
    return _encoder.encode(event)


def decode(kind: type[E], data: bytes) -> E:
    """The event in `data`; raises SightlineError naming the field when it is not one of `kind`."""
    try:
        return msgspec.json.decode(data, type=kind)
    except msgspec.DecodeError as error:
        raise SightlineError(f"not a {kind.__name__} ({error}): {data[:80]!r}") from error


def event_headers(event: Event, event_id: str) -> Headers:
    """CloudEvents headers of a JSON event."""
    return [
        ("ce_specversion", b"1.0"),
        ("ce_id", event_id.encode()),
        ("ce_source", b"/sightline"),
        ("ce_type", EVENT_TYPES[type(event)].encode()),
        ("content-type", b"application/json"),
    ]


def frame_headers(frame: Frame) -> Headers:
    """Everything of a frame but its pixels, as CloudEvents headers."""
    headers = [
        ("ce_specversion", b"1.0"),
        ("ce_id", f"{frame.camera}/{frame.sequence}".encode()),
        ("ce_source", f"/lines/{frame.line}/cameras/{frame.camera}".encode()),
        ("ce_type", FRAME_TYPE.encode()),
        ("ce_time", frame.captured_at.astimezone(UTC).isoformat(timespec="microseconds").encode()),
        ("content-type", b"image/jpeg"),
        ("ce_line", frame.line.encode()),
        ("ce_camera", frame.camera.encode()),
        ("ce_sequence", str(frame.sequence).encode()),
        ("ce_product", frame.product.encode()),
        ("ce_width", str(frame.width).encode()),
        ("ce_height", str(frame.height).encode()),
    ]
    if frame.label is not None:
        headers.append(("ce_label", frame.label.encode()))
    return headers


def frame_from_record(value: bytes | None, headers: Iterable[tuple[str, bytes | None]]) -> Frame:
    """The frame in a Kafka record.

    Checks the headers only; the pixels are checked where they are decoded. Raises FrameError with the reason
    `missing-header`, `bad-header`, `unknown-schema` or `empty`.
    """
    found = {name: data for name, data in headers if data is not None}
    kind = _text(found, "ce_type")
    if kind != FRAME_TYPE:
        raise FrameError(Reason.UNKNOWN_SCHEMA, f"ce_type is {kind!r}; this version reads {FRAME_TYPE!r}")
    if not value:
        raise FrameError(Reason.EMPTY, "the record has no bytes; the camera sent a frame of zero length")
    return Frame(
        line=_name(found, "ce_line"),
        camera=_name(found, "ce_camera"),
        sequence=_count(found, "ce_sequence", 0, 2**63 - 1),
        captured_at=_time(found, "ce_time"),
        product=_name(found, "ce_product"),
        width=_count(found, "ce_width", 1, 2**16),
        height=_count(found, "ce_height", 1, 2**16),
        jpeg=value,
        label=_name(found, "ce_label") if "ce_label" in found else None,
    )


def identity_from_headers(headers: Iterable[tuple[str, bytes | None]]) -> tuple[str | None, int | None]:
    """Camera and sequence as far as the headers tell; never raises."""
    found = {name: data for name, data in headers if data is not None}
    try:
        camera: str | None = _name(found, "ce_camera")
    except FrameError:
        camera = None
    try:
        sequence: int | None = _count(found, "ce_sequence", 0, 2**63 - 1)
    except FrameError:
        sequence = None
    return camera, sequence


def dead_letter_headers(letter: DeadLetter) -> Headers:
    """The original headers, then what happened, in Kafka Connect's shape."""
    return [
        *letter.headers,
        (_CONNECT + "topic", letter.source.topic.encode()),
        (_CONNECT + "partition", str(letter.source.partition).encode()),
        (_CONNECT + "offset", str(letter.source.offset).encode()),
        (_CONNECT + "stage", letter.stage.encode()),
        (_CONNECT + "exception.class.name", b"sightline.errors.FrameError"),
        (_CONNECT + "exception.message", letter.message.encode()),
        (_REASON, letter.reason.value.encode()),
        (_INGESTED, letter.ingested_at.astimezone(UTC).isoformat(timespec="microseconds").encode()),
    ]


def dead_letter_from_record(
    key: bytes | None, value: bytes | None, headers: Iterable[tuple[str, bytes | None]]
) -> DeadLetter:
    """The dead letter in a Kafka record; raises SightlineError when the headers are not ours."""
    kept = [(name, data or b"") for name, data in headers]
    found = dict(kept)
    original = tuple(
        (name, data) for name, data in kept if not name.startswith(_CONNECT) and name not in (_REASON, _INGESTED)
    )
    camera, sequence = identity_from_headers(original)
    try:
        return DeadLetter(
            reason=Reason(found[_REASON].decode()),
            message=found[_CONNECT + "exception.message"].decode(),
            stage=found[_CONNECT + "stage"].decode(),
            source=SourceOffset(
                topic=found[_CONNECT + "topic"].decode(),
                partition=int(found[_CONNECT + "partition"]),
                offset=int(found[_CONNECT + "offset"]),
            ),
            ingested_at=datetime.fromisoformat(found[_INGESTED].decode()),
            value=value,
            key=key,
            headers=original,
            camera=camera,
            sequence=sequence,
        )
    except (KeyError, ValueError) as error:
        raise SightlineError(f"not a dead letter of Sightline: {error!r} in its headers") from error


def _text(found: Mapping[str, bytes], name: str) -> str:
    try:
        return found[name].decode()
    except KeyError:
        raise FrameError(Reason.MISSING_HEADER, f"header {name} is missing") from None
    except UnicodeDecodeError:
        raise FrameError(Reason.BAD_HEADER, f"header {name} is not UTF-8: {found[name][:40]!r}") from None


def _name(found: Mapping[str, bytes], name: str) -> str:
    text = _text(found, name)
    if not text or len(text) > MAX_NAME or not text.isprintable():
        raise FrameError(
            Reason.BAD_HEADER,
            f"header {name} must be 1 to {MAX_NAME} printable characters, not {text[:40]!r}",
        )
    return text


def _count(found: Mapping[str, bytes], name: str, low: int, high: int) -> int:
    text = _text(found, name)
    if not (text.isascii() and text.isdecimal() and len(text) < 20 and low <= int(text) <= high):
        raise FrameError(Reason.BAD_HEADER, f"header {name} must be an integer {low} to {high}, not {text[:40]!r}")
    return int(text)


def _time(found: Mapping[str, bytes], name: str) -> datetime:
    text = _text(found, name)
    try:
        stamp = datetime.fromisoformat(text)
        if stamp.tzinfo is None:
            raise ValueError("no time zone")
        return stamp.astimezone(UTC)
    except (ValueError, OverflowError):
        raise FrameError(
            Reason.BAD_HEADER, f"header {name} must be an RFC 3339 time with a zone, not {text[:40]!r}"
        ) from None
