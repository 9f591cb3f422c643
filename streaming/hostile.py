"""Frames as no camera should send them, for tests: each kind with what must become of it.

The records are made from a seed, so that a failure can be repeated. `streaming.hostile_run` judges them.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import count, islice

from sightline import codec
from sightline.contracts import Frame, Reason, SourceOffset
from streaming.hostile_pictures import ANY, INSPECTED, PICTURES, HostilePicture, flat_jpeg, whole
from streaming.records import Record

PRODUCT = "washer"

_START = datetime(2026, 1, 1, tzinfo=UTC)
_TOPIC = "frames"


@dataclass(frozen=True, slots=True, kw_only=True)
class Hostile:
    """A record, the fates that it may have, and the brightness that an inspection must find where that is known."""

    kind: str
    record: Record
    fates: frozenset[str]
    brightness: float | None = None


def hostile_frames(seed: int) -> Iterator[Hostile]:
    """Endless records: two of three with a hostile picture, the third with hostile headers or key; kinds in turn."""
    pictures, records = list(PICTURES), list(_RECORDS)
    for number in count():
        # nothing secret comes of it
        rng = random.Random(f"{seed}/{number}")  # noqa: S311
        turn, place = divmod(number, 3)
        if place == 0:
            yield _RECORDS[records[turn % len(records)]](rng, number)
        else:
            kind = pictures[(2 * turn + place - 1) % len(pictures)]
            yield from_picture(kind, PICTURES[kind](rng), rng, number)


def from_picture(kind: str, made: HostilePicture, rng: random.Random, number: int) -> Hostile:
    """A picture under sound headers."""
    return Hostile(kind=kind, record=_record(_frame(rng, number, made)), fates=made.fates, brightness=made.brightness)


def from_fuzzed(kind: str, data: bytes) -> Hostile:
    """What a fuzzer made: after an odd byte a picture, after an even one changes to the headers of a sound frame.

    Each change takes a byte for what it does (replace, remove or insert), one for the place, and then, each after its
    length in a byte, a name where it inserts and a value; 255 is no value. The bytes that are left are the key.
    """
    rng = random.Random(0)  # noqa: S311 - nothing secret comes of it
    rest = iter(data)
    if next(rest, 1) % 2:
        return from_picture(kind, HostilePicture(bytes(rest), ANY), rng, 0)
    record = _sound(rng, 0)
    headers = list(record.headers)
    for _ in range(next(rest, 0) % 8):
        what, place = next(rest, 0) % 3, next(rest, 0) % (len(headers) + 1)
        if what == 2:
            name = _piece(rest) or b""
            headers.insert(place, (name.decode("utf-8", "replace"), _piece(rest)))
        elif place < len(headers):
            headers[place : place + 1] = [(headers[place][0], _piece(rest))] if what == 0 else []
    return Hostile(kind=kind, record=record._replace(headers=headers, key=bytes(rest)), fates=ANY)


def _piece(rest: Iterator[int]) -> bytes | None:
    length = next(rest, 0)
    return None if length == 255 else bytes(islice(rest, length))


def _frame(rng: random.Random, number: int, made: HostilePicture) -> Frame:
    return Frame(
        line="north",
        camera=f"cam-{rng.randint(1, 4)}",
        sequence=number,
        captured_at=_START + timedelta(milliseconds=number),
        product=PRODUCT,
        width=made.width,
        height=made.height,
        jpeg=made.data,
        label="good",
    )


def _record(frame: Frame) -> Record:
    source = SourceOffset(topic=_TOPIC, partition=0, offset=frame.sequence)
    headers: list[tuple[str, bytes | None]] = [*codec.frame_headers(frame)]
    return Record(frame.camera.encode(), frame.jpeg, headers, source, frame.captured_at)


def _sound(rng: random.Random, number: int) -> Record:
    return _record(_frame(rng, number, whole(flat_jpeg(90), 90)))


def _missing_header(rng: random.Random, number: int) -> Hostile:
    record = _sound(rng, number)
    needed = ["ce_type", "ce_line", "ce_camera", "ce_sequence", "ce_time", "ce_product", "ce_width", "ce_height"]
    gone = rng.choice(needed)
    headers = [(name, data) for name, data in record.headers if name != gone]
    if rng.random() < 0.5:
        headers.append((gone, None))
    return Hostile(
        kind="missing-header",
        record=record._replace(headers=headers),
        fates=frozenset({Reason.MISSING_HEADER.value}),
    )


def _forged_header(rng: random.Random, number: int) -> Hostile:
    """Every value that a header should not have."""
    record = _sound(rng, number)
    forged = rng.choice(
        [
            ("ce_sequence", rng.choice([b"-1", b"1e9", b"9" * 30, b"\xd9\xa3", b"", b"0x10", b"1_000", b" 1"])),
            (
                "ce_time",
                rng.choice([b"now", b"2026-01-01", b"9999-12-31T23:59:59-23:59", b"0001-01-01T00:00:00+14:00"]),
            ),
            ("ce_width", rng.choice([b"0", b"-160", b"65537", b"NaN", "\u0661\u0666\u0660".encode()])),
            ("ce_camera", rng.choice([b"", b"c" * 129, b"cam\n1", b"\xff\xfe", b"\x1b[2J", b"cam\x001"])),
            ("ce_line", rng.choice([b"", "\u202eenil".encode(), b"l" * 100_000])),
            ("ce_label", rng.choice([b"", b"good\r\n", b"x" * 200])),
        ]
    )
    headers = [forged if name == forged[0] else (name, data) for name, data in record.headers]
    return Hostile(
        kind="forged-header", record=record._replace(headers=headers), fates=frozenset({Reason.BAD_HEADER.value})
    )


def _unknown_schema(rng: random.Random, number: int) -> Hostile:
    record = _sound(rng, number)
    kind = rng.choice([b"io.sightline.frame.v2", b"io.sightline.inspection.v1", b"", b"com.example", b"v1" * 9000])
    headers = [(name, kind if name == "ce_type" else data) for name, data in record.headers]
    return Hostile(
        kind="unknown-schema", record=record._replace(headers=headers), fates=frozenset({Reason.UNKNOWN_SCHEMA.value})
    )


def _forged_size(rng: random.Random, number: int) -> Hostile:
    record = _sound(rng, number)
    wrong = str(rng.choice([1, 159, 161, 65_536])).encode()
    headers = [(name, wrong if name == "ce_width" else data) for name, data in record.headers]
    return Hostile(
        kind="forged-size", record=record._replace(headers=headers), fates=frozenset({Reason.SIZE_MISMATCH.value})
    )


def _unknown_product(rng: random.Random, number: int) -> Hostile:
    record = _sound(rng, number)
    name = rng.choice([b"teapot", b"../../etc/passwd", b"sightline.washer", "wascher\u00e9".encode(), b"p" * 128])
    headers = [(key, name if key == "ce_product" else data) for key, data in record.headers]
    return Hostile(
        kind="unknown-product", record=record._replace(headers=headers), fates=frozenset({Reason.NO_DETECTOR.value})
    )


def _huge_key(rng: random.Random, number: int) -> Hostile:
    record = _sound(rng, number)
    key = rng.choice([None, b"", rng.randbytes(10**6), b"\xff" * 300, b"cam-1\x00"])
    return Hostile(kind="huge-key", record=record._replace(key=key), fates=frozenset({INSPECTED}), brightness=90)


def _many_headers(rng: random.Random, number: int) -> Hostile:
    """Thousands of headers, repeated and unknown ones, a megabyte in one: what is needed is there all the same."""
    record = _sound(rng, number)
    extra: list[tuple[str, bytes | None]] = rng.choice(
        [
            [(f"x-{n}", b"v") for n in range(5000)],
            [("x-large", bytes(10**6))],
            [("ce_sequence", b"not the last one"), ("", b""), ("\x00", None), ("\u202e" * 50, b"\xff")],
            [("__connect.errors.topic", b"operator-actions"), ("sightline.reason", b"forged")],
        ]
    )
    return Hostile(
        kind="many-headers",
        record=record._replace(headers=[*extra, *record.headers]),
        fates=frozenset({INSPECTED}),
        brightness=90,
    )


def _nothing(rng: random.Random, number: int) -> Hostile:
    record = _sound(rng, number)
    return Hostile(kind="tombstone", record=record._replace(value=None), fates=frozenset({Reason.EMPTY.value}))


def _noise(rng: random.Random, number: int) -> Hostile:
    record = _sound(rng, number)
    names = [name for name, _ in record.headers]
    headers: list[tuple[str, bytes | None]] = [
        (rng.choice([*names, rng.randbytes(4).hex()]), rng.choice([None, rng.randbytes(rng.randint(0, 60))]))
        for _ in range(rng.randint(0, 30))
    ]
    made = record._replace(headers=headers, key=rng.randbytes(9), value=rng.randbytes(rng.randint(0, 4000)))
    return Hostile(
        kind="noise",
        record=made,
        fates=frozenset(map(str, (Reason.MISSING_HEADER, Reason.BAD_HEADER, Reason.UNKNOWN_SCHEMA))),
    )


_RECORDS: Mapping[str, Callable[[random.Random, int], Hostile]] = {
    "missing-header": _missing_header,
    "forged-header": _forged_header,
    "unknown-schema": _unknown_schema,
    "forged-size": _forged_size,
    "unknown-product": _unknown_product,
    "huge-key": _huge_key,
    "many-headers": _many_headers,
    "tombstone": _nothing,
    "noise": _noise,
}
