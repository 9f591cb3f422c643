"""Facts about a picture or a mask as a file holds it, for training sets: whatever cannot be learnt from is told."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from models.runtime.decode import MAX_PIXELS, MAX_SIDE, decode
from sightline.contracts import Reason
from sightline.errors import FrameError

MIN_MARKED = 4
"""Fewest pixels that a mask marks."""
MAX_MARKED = 0.95
"""Largest share of a picture that a mask marks; more is an inverted mask."""

_JPEG_MAGIC = b"\xff\xd8\xff"
_SIDE = 64
"""Facts are measured on a picture of this side: JPEGs are decoded at reduced scale, and still read to their end."""


@dataclass(frozen=True, slots=True)
class PictureFacts:
    """Size in pixels; mean and deviation of the luminance, 0 to 255."""

    width: int
    height: int
    brightness: float
    contrast: float


@dataclass(frozen=True, slots=True)
class MaskFacts:
    """Size in pixels, and how many of them are not zero."""

    width: int
    height: int
    marked: int


def picture_facts(data: bytes) -> PictureFacts:
    """Facts of an encoded picture, a JPEG as cameras send it or another format that OpenCV reads.

    Raises FrameError with the reasons of `models.runtime.decode.probe`.
    """
    if not data or data.startswith(_JPEG_MAGIC):
        frame = decode(data, _SIDE, _SIDE)
        width, height = frame.width, frame.height
        luminance = cv2.cvtColor(frame.image, cv2.COLOR_RGB2GRAY)
    else:
        luminance = _grey(data)
        height, width = luminance.shape
        if max(width, height) > MAX_SIDE or width * height > MAX_PIXELS:
            raise FrameError(Reason.TOO_LARGE, f"the picture is {width}×{height} pixels; scale it down")
        luminance = cv2.resize(luminance, (_SIDE, _SIDE), interpolation=cv2.INTER_AREA)
    return PictureFacts(width, height, float(luminance.mean()), float(luminance.std()))


def mask_facts(data: bytes) -> MaskFacts:
    """Facts of an encoded mask; raises FrameError when it cannot be read."""
    mask = _grey(data)
    return MaskFacts(mask.shape[1], mask.shape[0], int(np.count_nonzero(mask)))


def _grey(data: bytes) -> np.ndarray[tuple[int, int], np.dtype[np.uint8]]:
    if not data:
        raise FrameError(Reason.EMPTY, "the file has no bytes; copy it again")
    flags = cv2.IMREAD_GRAYSCALE | cv2.IMREAD_IGNORE_ORIENTATION
    try:
        image = cv2.imdecode(np.frombuffer(data, np.uint8), flags)
    except cv2.error as error:
        raise FrameError(Reason.UNDECODABLE, f"the file cannot be decoded: {error}") from error
    if image is None:
        raise FrameError(Reason.UNDECODABLE, "the file is damaged or no picture; repair or remove it")
    return np.asarray(image, np.uint8)


def mask_fault(mask: MaskFacts, picture: PictureFacts) -> str | None:
    """What is wrong with a mask for this picture, for people; None when it fits."""
    if (mask.width, mask.height) != (picture.width, picture.height):
        return f"is {mask.width}×{mask.height}, its picture {picture.width}×{picture.height}"
    if mask.marked < MIN_MARKED:
        return f"marks {mask.marked} pixels, too few for a defect"
    if mask.marked > MAX_MARKED * mask.width * mask.height:
        return "marks almost the whole picture; black is good, white is the defect"
    return None
