"""Encoded pictures of any format as the JPEG that a camera would have sent: all detectors see the same pixels."""

from __future__ import annotations

import cv2
import numpy as np

from models.runtime.decode import MAX_PIXELS, MAX_SIDE
from sightline.contracts import Reason
from sightline.errors import FrameError

_JPEG_MAGIC = b"\xff\xd8\xff"
_PNG_MAGIC = b"\x89PNG\r\n\x1a\n"
_CAMERA_QUALITY = 90
"""JPEG quality at which other formats are encoded first, so that training sees what the stream will see."""


def as_jpeg(data: bytes) -> bytes:
    """`data` itself where it is a JPEG; another picture that OpenCV reads, 8 or 16 bits a channel, encoded as one.

    Raises FrameError with the reason `empty`, `undecodable` or `too-large`. EXIF orientation is ignored.
    """
    if data.startswith(_JPEG_MAGIC):
        return data
    if not data:
        raise FrameError(Reason.EMPTY, "the file has no bytes; copy it again")
    if data.startswith(_PNG_MAGIC):
        # a few hundred bytes can claim a gigapixel, and OpenCV would allocate it
        width, height = (int.from_bytes(data[at : at + 4], "big") for at in (16, 20))
        if max(width, height) > MAX_SIDE or width * height > MAX_PIXELS:
            raise FrameError(Reason.TOO_LARGE, f"the picture is {width}×{height} pixels; scale it down")
    flags = cv2.IMREAD_COLOR | cv2.IMREAD_ANYDEPTH | cv2.IMREAD_IGNORE_ORIENTATION
    try:
        image = cv2.imdecode(np.frombuffer(data, np.uint8), flags)
    except cv2.error as error:
        raise FrameError(Reason.UNDECODABLE, f"the file cannot be decoded: {error}") from error
    if image is None:
        raise FrameError(Reason.UNDECODABLE, "the file is damaged or no picture")
    if image.dtype == np.uint16:
        # the upper 8 bits, as producers send them
        image = np.right_shift(image, 8).astype(np.uint8)
    if image.dtype != np.uint8:
        raise FrameError(Reason.UNDECODABLE, f"the file has {image.dtype} pixels; save it with 8 or 16 bits a channel")
    _, jpeg = cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, _CAMERA_QUALITY])
    return bytes(jpeg)
