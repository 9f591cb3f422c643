"""Pictures of any format as a camera's JPEG."""

from __future__ import annotations

import struct
import zlib

import cv2
import numpy as np
import pytest

from models.runtime.decode import decode
from models.runtime.transcode import as_jpeg
from sightline.contracts import Reason
from sightline.errors import FrameError

GREY = np.full((48, 64, 3), 120, np.uint8)


def test_a_jpeg_stays_as_it_was() -> None:
    jpeg = bytes(cv2.imencode(".jpg", GREY)[1])
    assert as_jpeg(jpeg) is jpeg


@pytest.mark.parametrize("ending", [".png", ".bmp", ".tif", ".webp"])
def test_other_formats_and_depths_become_the_same_pixels(ending: str) -> None:
    encoded = bytes(cv2.imencode(ending, GREY)[1])
    assert np.abs(decode(as_jpeg(encoded), 48, 64).image.astype(int) - 120).max() <= 2
    if ending in (".png", ".tif"):
        deep = bytes(cv2.imencode(ending, GREY.astype(np.uint16) * 256 + 255)[1])
        assert np.abs(decode(as_jpeg(deep), 48, 64).image.astype(int) - 120).max() <= 2


def gigapixels() -> bytes:
    """A whole PNG header that claims 30,000 pixels a side."""
    head = b"IHDR" + struct.pack(">IIBBBBB", 30_000, 30_000, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + struct.pack(">I", 13) + head + struct.pack(">I", zlib.crc32(head))


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", Reason.EMPTY),
        (b"not a picture", Reason.UNDECODABLE),
        (bytes(cv2.imencode(".png", GREY)[1])[:40], Reason.UNDECODABLE),
        (b"\x89PNG\r\n\x1a\n", Reason.UNDECODABLE),
        (bytes(cv2.imencode(".tif", GREY.astype(np.float32))[1]), Reason.UNDECODABLE),
        (gigapixels(), Reason.TOO_LARGE),
    ],
    ids=["empty", "text", "cut off", "magic alone", "float pixels", "gigapixels"],
)
def test_what_is_no_picture_is_named(data: bytes, reason: Reason) -> None:
    with pytest.raises(FrameError) as caught:
        as_jpeg(data)
    assert caught.value.reason == reason
