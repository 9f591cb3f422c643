"""JPEG: pixels to bytes, and the size in a header without decoding."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from producers.opencv import cv2
from sightline.errors import SourceError

MAGIC = b"\xff\xd8\xff"

_ALONE = {0x01, *range(0xD0, 0xD9)}
"""Markers without a segment: TEM, RST0…RST7, SOI."""
_FRAME = set(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
"""Markers that start a frame header; DHT, JPG and DAC lie between them."""
_LAST = {0xD9, 0xDA}
"""End of image and start of scan: no header follows."""


def encode(image: NDArray[np.uint8], quality: int) -> bytes:
    """JPEG of `image` uint8 [H, W, 3] BGR at `quality` 1…100; raises SourceError when the codec refuses it."""
    try:
        done, data = cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, quality])
    except cv2.error as error:
        raise SourceError(f"an image of {image.dtype} {image.shape} cannot be encoded as JPEG: {error.err}") from error
    if not done:
        raise SourceError(f"an image of {image.dtype} {image.shape} cannot be encoded as JPEG")
    return bytes(data)


def size(jpeg: bytes) -> tuple[int, int]:
    """Width and height that the frame header states, in pixels as stored; raises SourceError when there is none."""
    if not jpeg.startswith(MAGIC):
        raise SourceError(f"it starts with {jpeg[:8]!r}, not with a JPEG marker")
    at = 2
    # decoders skip stray bytes between segments, which some cameras write; so must this
    while (at := jpeg.find(b"\xff", at)) >= 0 and at + 4 <= len(jpeg):
        marker = jpeg[at + 1]
        if marker == 0xFF:  # padding
            at += 1
        elif marker in _ALONE:
            at += 2
        elif marker in _LAST:
            break
        elif marker in _FRAME:
            height = int.from_bytes(jpeg[at + 5 : at + 7], "big")
            width = int.from_bytes(jpeg[at + 7 : at + 9], "big")
            if at + 9 > len(jpeg) or not width or not height:
                break
            return width, height
        else:
            at += 2 + int.from_bytes(jpeg[at + 2 : at + 4], "big")
    raise SourceError("it has a JPEG marker but no frame header with a width and a height")
