"""JPEG bytes to the detector's pixels, with every fault named.

libjpeg-turbo (through simplejpeg) reads the header before any pixel is allocated, decodes at a reduced scale where that
suffices, and, unlike OpenCV, says when the data stopped short and the rest was painted grey. EXIF orientation is
ignored: boxes refer to the pixels as they are stored, and so does the archive.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import NamedTuple

import cv2
import numpy as np
import simplejpeg
from numpy.typing import NDArray

from models.runtime.jpeg_header import one_pass, scans
from models.runtime.view import Box, View
from sightline.contracts import Quality, Reason
from sightline.errors import FrameError

MAX_SIDE = 16_384
MAX_PIXELS = 64_000_000
"""Largest frame, in pixels a side and in all: a few hundred bytes of header can claim four gigapixels."""

MAX_HELD_PIXELS = 16_000_000
"""Largest frame whose coefficients a decoder must hold, as of a progressive one: up to 8 bytes a pixel."""
MAX_SCANS = 100
"""Most scans of such a frame, which usually has ten: each costs a pass over the picture, however few bytes it has."""

_MAGIC = b"\xff\xd8\xff"
_END = b"\xff\xd9"
_HARMLESS = "extraneous bytes"
"""libjpeg's warning for padding between segments, which many cameras write; the picture is whole."""
_SHORT = "premature end"


@dataclass(frozen=True, slots=True)
class DecodedFrame:
    """`image` uint8 [height, width, 3] RGB at the detector's size; `width` and `height` are the JPEG's own.

    `covered` is the part of the frame that `image` shows.
    """

    image: NDArray[np.uint8]
    width: int
    height: int
    quality: Quality
    covered: Box


class Wanted(NamedTuple):
    """A JPEG and what a detector is to see of it: the region of `view`, at `height` × `width`."""

    jpeg: bytes
    height: int
    width: int
    view: View | None = None

    def covered(self, width: int, height: int) -> Box:
        """What is seen of a frame of `width` × `height`. Raises FrameError when the view is not for such frames."""
        return self.view.covered(width, height) if self.view else Box(0, 0, width, height)


Decode = Callable[[Iterable[Wanted]], Iterator[DecodedFrame | FrameError]]
"""Gives each frame in its place, or what is wrong with it."""


def probe(jpeg: bytes) -> tuple[int, int]:
    """Width and height from the JPEG header, without decoding.

    Raises FrameError with the reason `empty`, `not-jpeg`, `truncated`, `undecodable` or `too-large`, the last also for
    a frame that claims more memory or time than its kind may have.
    """
    if not jpeg:
        raise FrameError(Reason.EMPTY, "the frame has no bytes; the camera sent a frame of zero length")
    if not jpeg.startswith(_MAGIC):
        raise FrameError(Reason.NOT_JPEG, f"the frame starts with {jpeg[:8]!r}, not with a JPEG marker; publish JPEG")
    try:
        height, width, _, _ = simplejpeg.decode_jpeg_header(jpeg, strict=False)
    except (ValueError, KeyError) as error:  # KeyError: a colour space that the library has no name for
        raise _fault(jpeg, f"no readable header, {error}") from error
    if width > MAX_SIDE or height > MAX_SIDE or width * height > MAX_PIXELS:
        raise FrameError(
            Reason.TOO_LARGE,
            f"the frame is {width}×{height} pixels; at most {MAX_SIDE} a side and {MAX_PIXELS // 10**6} megapixels "
            "are read, scale it down at the camera",
        )
    if not one_pass(jpeg):
        _check_held(jpeg, width, height)
    return width, height


def decode(jpeg: bytes, height: int, width: int, view: View | None = None) -> DecodedFrame:
    """The frame in `jpeg`, cut to the region of `view`, resized to `height` × `width` by area averaging.

    Its quality is that of what is seen, at that size. Grey, CMYK and progressive files become RGB; the aspect is not
    kept. Raises FrameError with the reasons of `probe`; `truncated` too when the scan stops short anywhere in the
    picture, `size-mismatch` when the view is not for frames of this size.
    """
    wanted = Wanted(jpeg, height, width, view)
    true_width, true_height = probe(jpeg)
    covered = wanted.covered(true_width, true_height)
    # the scale must leave enough pixels in the part that is cut out
    least_height, least_width = -(-height * true_height // covered.height), -(-width * true_width // covered.width)
    pixels = _pixels(jpeg, least_height, least_width)
    return seen(pixels, wanted, true_width, true_height)


def decode_each(wanted: Iterable[Wanted]) -> Iterator[DecodedFrame | FrameError]:
    """`decode`, one frame after the other."""
    for one in wanted:
        try:
            yield decode(*one)
        except FrameError as error:
            yield error


def seen(pixels: NDArray[np.uint8], wanted: Wanted, width: int, height: int) -> DecodedFrame:
    """What a detector sees of a frame of `width` × `height`, decoded as `pixels` at that or at a reduced scale."""
    covered = wanted.covered(width, height)
    image = resize(_cut(pixels, covered, width, height), wanted.height, wanted.width)
    return DecodedFrame(image, width, height, quality(image), covered)


def resize(image: NDArray[np.uint8], height: int, width: int) -> NDArray[np.uint8]:
    """`image` uint8 [h, w, 3] at `height` × `width`: area averages when it shrinks, linear when it grows."""
    found = image.shape[:2]
    if found == (height, width):
        return image
    shrinks = found[0] >= height and found[1] >= width
    resized = cv2.resize(image, (width, height), interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR)
    return np.asarray(resized, np.uint8)


def quality(image: NDArray[np.uint8]) -> Quality:
    """Sharpness and brightness of `image`, uint8 [h, w, 3] RGB; comparable only at equal sizes."""
    luminance = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)
    _, deviation = cv2.meanStdDev(cv2.Laplacian(luminance, cv2.CV_16S))
    return Quality(blur=float(deviation[0, 0]) ** 2, exposure=float(cv2.mean(luminance)[0]))


def _check_held(jpeg: bytes, width: int, height: int) -> None:
    """Refuse what would cost memory or time out of all proportion to its bytes."""
    if width * height > MAX_HELD_PIXELS:
        raise FrameError(
            Reason.TOO_LARGE,
            f"the frame is {width}×{height} pixels and progressive, or coded in several scans: at most "
            f"{MAX_HELD_PIXELS // 10**6} megapixels of that kind are read; let the camera write baseline JPEG",
        )
    if (found := scans(jpeg)) > MAX_SCANS:
        raise FrameError(
            Reason.TOO_LARGE,
            f"the frame has {found} scans, at most {MAX_SCANS} are read; let the camera write baseline JPEG",
        )


def _cut(image: NDArray[np.uint8], part: Box, width: int, height: int) -> NDArray[np.uint8]:
    """`part` of a frame of `width` × `height`, out of that frame decoded at a reduced scale."""
    rows, cols = image.shape[:2]
    left, right = (round(x * cols / width) for x in (part.x, part.x + part.width))
    top, bottom = (round(y * rows / height) for y in (part.y, part.y + part.height))
    return image[top:bottom, left:right]


def _pixels(jpeg: bytes, height: int, width: int) -> NDArray[np.uint8]:
    """RGB at the smallest scale that still covers `height` × `width`."""

    try:
        return _rgb(jpeg, height, width, strict=True)
    except FrameError as error:
        # of all complaints only padding between segments leaves a whole picture
        if _HARMLESS not in str(error) or not ended(jpeg):
            raise
    return _rgb(jpeg, height, width, strict=False)


def _rgb(jpeg: bytes, height: int, width: int, *, strict: bool) -> NDArray[np.uint8]:
    try:
        image = simplejpeg.decode_jpeg(jpeg, "RGB", min_height=height, min_width=width, strict=strict)
    except (ValueError, KeyError) as error:
        raise _fault(jpeg, str(error)) from error
    return np.asarray(image, np.uint8)


def ended(jpeg: bytes) -> bool:
    """Whether the end marker is there; some cameras pad a frame with zeros after it."""
    return jpeg.rstrip(b"\0").endswith(_END)


def _fault(jpeg: bytes, text: str) -> FrameError:
    if _SHORT in text.lower() or not ended(jpeg):
        return FrameError(
            Reason.TRUNCATED,
            f"the JPEG stops short after {len(jpeg)} bytes ({text}); the camera or the network cut the frame off",
        )
    return FrameError(Reason.UNDECODABLE, f"the JPEG of {len(jpeg)} bytes cannot be decoded: {text}")
