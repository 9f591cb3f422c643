"""Pictures as no camera should send them, for tests: each kind with what must become of it."""

from __future__ import annotations

import random
import struct
import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

import cv2
import numpy as np
import simplejpeg

from sightline.contracts import Reason

INSPECTED = "inspected"
"""The fate of a frame that is strange and whole."""
ANY = frozenset({INSPECTED, *(reason.value for reason in Reason)})
"""Of random damage nobody can say more than that it must have a fate."""

_END = b"\xff\xd9"


@dataclass(frozen=True, slots=True)
class HostilePicture:
    """Bytes, the fates that they may have, the size that goes with them, and the brightness where it is known."""

    data: bytes
    fates: frozenset[str]
    width: int = 160
    height: int = 120
    brightness: float | None = None


def whole(data: bytes, level: float, width: int = 160, height: int = 120) -> HostilePicture:
    return HostilePicture(data, frozenset({INSPECTED}), width, height, level)


def _bad(data: bytes, *reasons: Reason, width: int = 160, height: int = 120) -> HostilePicture:
    return HostilePicture(data, frozenset(reason.value for reason in reasons), width, height)


def flat_jpeg(level: int, width: int = 160, height: int = 120, *flags: int) -> bytes:
    image = np.full((height, width, 3), level, np.uint8)
    return bytes(cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, 90, *flags])[1])


def _busy(rng: random.Random, *flags: int) -> bytes:
    """A picture whose data fills some kilobytes, so that damage has something to hit."""
    noise = np.random.default_rng(rng.getrandbits(32)).integers(0, 256, (120, 160, 3), np.uint8)
    return bytes(cv2.imencode(".jpg", noise, [cv2.IMWRITE_JPEG_QUALITY, 70, *flags])[1])


def _segment(marker: int, body: bytes) -> bytes:
    return bytes([0xFF, marker]) + (len(body) + 2).to_bytes(2, "big") + body


def _after_start(data: bytes, *segments: bytes) -> bytes:
    return data[:2] + b"".join(segments) + data[2:]


def _claiming(data: bytes, width: int, height: int, marker: bytes = b"\xff\xc0") -> bytes:
    at = data.index(marker) + 5
    return data[:at] + struct.pack(">HH", height, width) + data[at + 4 :]


def _bomb(rng: random.Random) -> HostilePicture:
    """A few hundred bytes that claim up to four gigapixels."""
    width, height = rng.choice([(65_500, 65_500), (16_385, 8), (8, 65_500), (16_000, 16_000), (8001, 8001)])
    return _bad(_claiming(flat_jpeg(90), width, height), Reason.TOO_LARGE)


def _progressive_bomb(rng: random.Random) -> HostilePicture:
    """Half a kilobyte for which a decoder would set aside up to half a gigabyte."""
    side = rng.randint(4001, 8000)
    data = _claiming(flat_jpeg(90, 160, 120, cv2.IMWRITE_JPEG_PROGRESSIVE, 1), side, side, b"\xff\xc2")
    return _bad(data, Reason.TOO_LARGE)


def _scan_bomb(rng: random.Random) -> HostilePicture:
    """A small file that a decoder goes over thousands of times."""
    data = flat_jpeg(90, 160, 120, cv2.IMWRITE_JPEG_PROGRESSIVE, 1)
    last = data.rindex(b"\xff\xda")
    return _bad(data[:-2] + data[last:-2] * rng.randint(200, 5000) + _END, Reason.TOO_LARGE)


def _truncated(rng: random.Random) -> HostilePicture:
    data = _busy(rng, *rng.choice([(), (cv2.IMWRITE_JPEG_PROGRESSIVE, 1)]))
    return _bad(data[: rng.randint(3, len(data) - 3)], Reason.TRUNCATED)


def _truncated_with_end(rng: random.Random) -> HostilePicture:
    data = _busy(rng)
    return _bad(data[: rng.randint(len(data) // 3, len(data) * 9 // 10)] + _END, Reason.TRUNCATED, Reason.UNDECODABLE)


def _text(rng: random.Random) -> HostilePicture:
    words = [b"hello", b"<html><script>alert(1)</script>", b"'; DROP TABLE inspections; --", b"{}", b"\x00" * 99]
    return _bad(rng.choice(words) * rng.randint(1, 500), Reason.NOT_JPEG)


def _zero_length(_rng: random.Random) -> HostilePicture:
    return _bad(b"", Reason.EMPTY)


def _other_format(rng: random.Random) -> HostilePicture:
    """PNG, 16 bits a sample too, and what is animated: GIF, WebP."""
    image = np.full((120, 160, 3), 90, np.uint8)
    deep = np.full((120, 160), 30_000, np.uint16)
    made = {
        "png": bytes(cv2.imencode(".png", image)[1]),
        "png-16": bytes(cv2.imencode(".png", deep)[1]),
        "tiff-16": bytes(cv2.imencode(".tiff", deep)[1]),
        "webp": b"RIFF\x00\x10\x00\x00WEBPVP8X\x0a\x00\x00\x00\x02" + bytes(40) + b"ANIM" + bytes(60),
        "gif": b"GIF89a\xa0\x00\x78\x00\x80\x00\x00" + bytes(6) + b"!\xff\x0bNETSCAPE2.0\x03\x01\x00\x00\x00;",
        "bmp": bytes(cv2.imencode(".bmp", image)[1]),
        "png-bomb": b"\x89PNG\r\n\x1a\n" + bytes(8) + zlib.compress(bytes(10**6)),
    }
    return _bad(made[rng.choice(sorted(made))], Reason.NOT_JPEG)


def _polyglot_before(rng: random.Random) -> HostilePicture:
    return _bad(
        rng.choice([b"%PDF-1.7\n", b"PK\x03\x04", b"GIF89a", b"#!/bin/sh\n", b"\x7fELF"]) + flat_jpeg(90),
        Reason.NOT_JPEG,
    )


def _polyglot_inside(rng: random.Random) -> HostilePicture:
    """A whole JPEG that is something else too: in a comment, or behind its end."""
    level = rng.randint(40, 140)
    other = rng.choice([b"<?php system($_GET['c']); ?>", b"<svg onload=alert(1)>", b"PK\x05\x06" + bytes(18)])
    data = flat_jpeg(level)
    return whole(rng.choice([_after_start(data, _segment(0xFE, other * 9)), data + other]), level)


def _animated(rng: random.Random) -> HostilePicture:
    """Several pictures in one file, as MPO has them: the first counts."""
    level = rng.randint(40, 140)
    mpo = _segment(0xE2, b"MPF\x00II*\x00\x08\x00\x00\x00")
    return whole(
        _after_start(flat_jpeg(level), mpo) + b"".join(flat_jpeg(240) for _ in range(rng.randint(1, 20))), level
    )


def _cmyk(rng: random.Random) -> HostilePicture:
    image = np.full((120, 160, 4), 255, np.uint8)
    level = rng.randint(40, 140)
    image[..., 3] = level
    return whole(simplejpeg.encode_jpeg(image, 95, "CMYK", "444"), level)


def _grey(rng: random.Random) -> HostilePicture:
    level = rng.randint(40, 140)
    return whole(bytes(cv2.imencode(".jpg", np.full((120, 160), level, np.uint8))[1]), level)


def _progressive(rng: random.Random) -> HostilePicture:
    level = rng.randint(40, 140)
    return whole(flat_jpeg(level, 160, 120, cv2.IMWRITE_JPEG_PROGRESSIVE, 1), level)


def _restarts(rng: random.Random) -> HostilePicture:
    level = rng.randint(40, 140)
    return whole(flat_jpeg(level, 160, 120, cv2.IMWRITE_JPEG_RST_INTERVAL, rng.randint(1, 20)), level)


def _deep(rng: random.Random) -> HostilePicture:
    """12 or 16 bits a sample, by the header's word."""
    data = bytearray(flat_jpeg(90))
    data[data.index(b"\xff\xc0") + 4] = rng.choice([12, 16, 0, 255])
    return _bad(bytes(data), Reason.UNDECODABLE, Reason.TRUNCATED)


def _components(rng: random.Random) -> HostilePicture:
    data = bytearray(flat_jpeg(90))
    data[data.index(b"\xff\xc0") + 9] = rng.choice([0, 2, 4, 5, 255])
    return _bad(bytes(data), Reason.UNDECODABLE, Reason.TRUNCATED, Reason.SIZE_MISMATCH)


def _coding(rng: random.Random) -> HostilePicture:
    """Baseline data under the marker of another process: lossless, arithmetic, hierarchical."""
    marker = rng.choice([0xC1, 0xC2, 0xC3, 0xC5, 0xC6, 0xC7, 0xC9, 0xCA, 0xCB, 0xCD, 0xCE, 0xCF])
    return replace(_bad(flat_jpeg(90).replace(b"\xff\xc0", bytes([0xFF, marker]), 1)), fates=ANY)


def _turned(rng: random.Random) -> HostilePicture:
    """EXIF orientation is ignored: boxes refer to the pixels as they are stored."""
    level = rng.randint(40, 140)
    tiff = b"MM\x00*\x00\x00\x00\x08\x00\x01\x01\x12\x00\x03\x00\x00\x00\x01" + bytes([0, rng.randint(0, 9)]) + bytes(6)
    return whole(_after_start(flat_jpeg(level), _segment(0xE1, b"Exif\x00\x00" + tiff)), level)


def _broken_exif(rng: random.Random) -> HostilePicture:
    level = rng.randint(40, 140)
    return whole(_after_start(flat_jpeg(level), _segment(0xE1, b"Exif\x00\x00II*\x00" + rng.randbytes(200))), level)


def _many_segments(rng: random.Random) -> HostilePicture:
    level = rng.randint(40, 140)
    return whole(_after_start(flat_jpeg(level), *[_segment(0xEF, bytes(60_000))] * rng.randint(1, 30)), level)


def _thin(rng: random.Random) -> HostilePicture:
    """One pixel wide or high, and dark or bright enough to be a defect with a thumbnail."""
    level = rng.randint(20, 250)
    width, height = rng.choice([(1, 1), (1, 16_000), (16_000, 1), (3, 9000), (16_384, 16)])
    return whole(flat_jpeg(level, width, height), level, width, height)


def _another_size(rng: random.Random) -> HostilePicture:
    return _bad(flat_jpeg(90, rng.randint(161, 400), 120), Reason.SIZE_MISMATCH)


def _no_tables(rng: random.Random) -> HostilePicture:
    """Without the Huffman tables or the quantisation, as the frames of an MJPEG stream are cut out."""
    data = flat_jpeg(90)
    marker = rng.choice([b"\xff\xc4", b"\xff\xdb"])
    while (at := data.find(marker)) >= 0:
        data = data[:at] + data[at + 2 + int.from_bytes(data[at + 2 : at + 4], "big") :]
    return replace(_bad(data), fates=ANY)


def _flipped(rng: random.Random) -> HostilePicture:
    """Random bytes of a real picture changed, removed, doubled."""
    data = bytearray(_busy(rng, *rng.choice([(), (cv2.IMWRITE_JPEG_PROGRESSIVE, 1)])))
    for _ in range(rng.randint(1, 40)):
        at = rng.randrange(2, len(data))
        match rng.randrange(3):
            case 0:
                data[at] = rng.randrange(256)
            case 1:
                del data[at : at + rng.randint(1, 8)]
            case _:
                data[at:at] = data[at : at + rng.randint(1, 8)]
    return replace(_bad(bytes(data)), fates=ANY)


def _damaged_header(rng: random.Random) -> HostilePicture:
    """As before, but in the first segments only, where sizes and tables stand."""
    data = bytearray(flat_jpeg(90))
    for _ in range(rng.randint(1, 6)):
        data[rng.randrange(2, 620)] = rng.choice([0, 0xFF, rng.randrange(256)])
    return replace(_bad(bytes(data)), fates=ANY)


def _markers_only(rng: random.Random) -> HostilePicture:
    return _bad(b"\xff\xd8\xff" + rng.choice([b"\xff", b"\xd8\xff", b"\xe0\x00\x00"]) * rng.randint(0, 9000),
                Reason.TRUNCATED, Reason.UNDECODABLE)  # fmt: skip


PICTURES: Mapping[str, Callable[[random.Random], HostilePicture]] = {
    "bomb": _bomb,
    "progressive-bomb": _progressive_bomb,
    "scan-bomb": _scan_bomb,
    "truncated": _truncated,
    "truncated-with-end": _truncated_with_end,
    "text": _text,
    "zero-length": _zero_length,
    "other-format": _other_format,
    "polyglot-before": _polyglot_before,
    "polyglot-inside": _polyglot_inside,
    "animated": _animated,
    "cmyk": _cmyk,
    "grey": _grey,
    "progressive": _progressive,
    "restarts": _restarts,
    "16-bit": _deep,
    "components": _components,
    "coding": _coding,
    "exif-turned": _turned,
    "broken-exif": _broken_exif,
    "many-segments": _many_segments,
    "thin": _thin,
    "another-size": _another_size,
    "no-tables": _no_tables,
    "flipped": _flipped,
    "damaged-header": _damaged_header,
    "markers-only": _markers_only,
}
