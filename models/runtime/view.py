"""What of a camera's frames a detector looks at: a region that is cut out, and a mask that leaves places aside.

Stream and training use the same functions here, so that a detector learns from the pixels that it will judge. A view is
a plain value: it travels to worker processes, mask included.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from models.runtime.card import DetectorCard
from models.runtime.scores import Scores
from sightline.contracts import Reason
from sightline.errors import DetectorError, FrameError, SettingsError

MIN_SIDE = 16
"""Smallest side of a region in pixels: below that a detector sees nothing but enlarged noise."""

WHOLE = "whole"
"""Parameter on a card: whether the detector judges the picture as one, without saying where."""

_PNG = b"\x89PNG\r\n\x1a\n"


class Box(NamedTuple):
    """A rectangle in pixels of the frame as captured, origin at the top left."""

    x: int
    y: int
    width: int
    height: int


@dataclass(frozen=True, slots=True, kw_only=True)
class View:
    """`region` is what is cut out of each frame, None for all of it; `mask` the bytes of a PNG of the frame's size.

    `key` is how the setting is called in messages, before `region` and `mask`. Make one with `open_view`, which checks.
    """

    key: str = ""
    region: Box | None = None
    mask: bytes | None = None
    mask_width: int = 0
    mask_height: int = 0

    def covered(self, width: int, height: int) -> Box:
        """The part of a frame of `width` × `height` that is looked at.

        Raises FrameError `size-mismatch` for a frame that the view was not made for: any verdict on it would be one on
        other pixels than were meant.
        """
        if self.mask is not None and (self.mask_width, self.mask_height) != (width, height):
            raise FrameError(
                Reason.SIZE_MISMATCH,
                f"the frame is {width}x{height}, the picture of {self.key}mask {self.mask_width}x{self.mask_height}; "
                "draw the mask anew for the size that the camera sends, or set that size at the camera",
            )
        if self.region is None:
            return Box(0, 0, width, height)
        x, y, wide, high = self.region
        if x + wide > width or y + high > height:
            raise FrameError(
                Reason.SIZE_MISMATCH,
                f"the frame is {width}x{height}, {self.key}region = {list(self.region)} reaches to {x + wide}x"
                f"{y + high}; correct the region, or the size that the camera sends",
            )
        return self.region


def view_of(region: str | None, mask: Path | None, key: str = "--") -> View | None:
    """The view of options of a command, `region` as `x,y,width,height`; None where neither is given.

    Raises SettingsError as `open_view` does, and for a region that is not four whole numbers.
    """
    if region is None and mask is None:
        return None
    if region is None:
        return open_view(None, mask, key)
    try:
        x, y, width, height = (int(part) for part in region.split(","))
    except ValueError:
        raise SettingsError(
            f"{key}region is {region!r}, expected x,y,width,height in pixels, such as 80,0,640,480"
        ) from None
    return open_view((x, y, width, height), mask, key)


def open_view(region: tuple[int, int, int, int] | None, mask: Path | None, key: str) -> View:
    """The view of these settings; `key` precedes the words `region` and `mask` in messages.

    Raises SettingsError naming key, value and remedy for a region that is none, and for a mask that cannot be read, is
    not plain black and white, is black all over, or does not hold the region.
    """
    box = Box(*region) if region else None
    if box and (min(box.x, box.y) < 0 or min(box.width, box.height) < MIN_SIDE):
        raise SettingsError(
            f"{key}region = {list(box)}: expected [x, y, width, height] in pixels, x and y from 0, width and height "
            f"from {MIN_SIDE}"
        )
    if mask is None:
        return View(key=key, region=box)
    at = f"{key}mask = {str(mask)!r}"
    try:
        data = mask.read_bytes()
    except OSError as error:
        raise SettingsError(
            f"{at}: {error.strerror or error}; name a PNG of the frame's size, white where the detector looks"
        ) from error
    looked_at = _white(data, at)
    height, width = looked_at.shape
    if box and (box.x + box.width > width or box.y + box.height > height):
        raise SettingsError(
            f"{key}region = {list(box)} reaches to {box.x + box.width}x{box.y + box.height}, the mask {str(mask)!r} is "
            f"{width}x{height}; both are in pixels of the frame as captured, correct one of them"
        )
    part = _cut(looked_at, box) if box else looked_at
    if not part.any():
        where = f" inside {key}region = {list(box)}" if box else ""
        raise SettingsError(f"{at} is black all over{where}: nothing would be looked at; paint white what counts")
    return View(key=key, region=box, mask=data, mask_width=width, mask_height=height)


def on_card(view: View | None) -> dict[str, str]:
    """What a card's `parameters` say of the view that a detector learnt under; nothing for whole frames."""
    if view is None:
        return {}
    said = {"region": ",".join(map(str, view.region))} if view.region else {}
    return said | ({"mask_sha256": hashlib.sha256(view.mask).hexdigest()} if view.mask else {})


def masked(view: View | None, scores: Scores) -> Scores:
    """Scores with the places outside the mask left aside: map values there are 0, a score is the highest that remains.

    What has no mask comes back as it is. A cell counts as soon as one of its pixels is white.
    """
    if view is None or view.mask is None:
        return scores
    kept = cells(view, *scores.maps.shape[-2:])
    return Scores(np.where(kept, scores.maps, np.float32(0)), scores.maps[..., kept].max(axis=-1))


@lru_cache(maxsize=64)
def cells(view: View, rows: int, cols: int) -> NDArray[np.bool_]:
    """Which cells of a map [rows, cols] over the view's region hold a white pixel of its mask."""
    if view.mask is None:
        return np.ones((rows, cols), np.bool_)
    part = white(view)
    height, width = part.shape
    # sums over rectangles: exact for any ratio of pixels to cells, where resizing would pass over thin lines
    sums = cv2.integral(part.astype(np.uint8))
    tops, lefts = np.arange(rows) * height // rows, np.arange(cols) * width // cols
    bottoms, rights = -(-(np.arange(rows) + 1) * height // rows), -(-(np.arange(cols) + 1) * width // cols)
    inside = sums[np.ix_(bottoms, rights)] - sums[np.ix_(tops, rights)] - sums[np.ix_(bottoms, lefts)]
    found: NDArray[np.bool_] = inside + sums[np.ix_(tops, lefts)] > 0
    found.setflags(write=False)
    return found


def white(view: View) -> NDArray[np.bool_]:
    """The mask inside the region, pixel by pixel; raises SettingsError for a view without one."""
    if view.mask is None:
        raise SettingsError(f"{view.key}mask is not set")
    looked_at = _white(view.mask, f"{view.key}mask")
    return _cut(looked_at, view.region) if view.region else looked_at


def check_maskable(card: DetectorCard, views: Iterable[View]) -> None:
    """Raise DetectorError where one of `views` has a mask and the detector does not say where."""
    masks = [view.key for view in views if view.mask is not None]
    if not masks or card.parameters.get(WHOLE) is False:
        return
    why = "judges the picture as a whole" if WHOLE in card.parameters else "does not say whether it tells places apart"
    raise DetectorError(
        f"{card.name} ({card.method}) {why}, so {masks[0]}mask cannot be applied; train with a method that says where "
        "(`sightline methods`), or use a region without a mask"
    )


def _white(data: bytes, at: str) -> NDArray[np.bool_]:
    """Pixels that are not black, [height, width]."""
    if not data.startswith(_PNG):
        raise SettingsError(f"{at} is no PNG; save it as one, JPEG smears black and white")
    try:
        image = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)
    except cv2.error as error:
        raise SettingsError(f"{at} cannot be decoded: {error}; save it again") from error
    if image is None:
        raise SettingsError(f"{at} is damaged; save it again")
    planes = image if image.ndim == 3 else image[..., None]
    if planes.shape[2] in (2, 4) and (planes[..., -1] != np.iinfo(image.dtype).max).any():
        raise SettingsError(f"{at} has transparent pixels; fill them with black or white")
    return np.asarray(planes[..., :3].any(axis=2))


def _cut(image: NDArray[np.bool_], box: Box) -> NDArray[np.bool_]:
    return image[box.y : box.y + box.height, box.x : box.x + box.width]
