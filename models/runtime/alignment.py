"""Pictures brought to where the part lies always alike: for parts that come at any place and size.

A detector that compares position by position needs it; then it can also learn from turned and mirrored pictures. It
runs beside the graph and not in it: outlines and Otsu's threshold have no ONNX operators, and what could be written
with them lost the part on plain grey castings (docs/adr/0006). Only the part and a margin around it are judged.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from models.runtime.foreground import foreground

_SIDE = 128
"""Side at which the part is looked for, in pixels: most of the three milliseconds that alignment takes of a frame."""
_BELIEVED = 0.9
"""Share of good frames in which the part must be found."""
_SPREAD = 0.05
"""Smallest deviation of places or sizes that is worth removing."""
_GAIN = 2 / 3
"""Largest share of the disagreement of outlines that may be left after alignment."""
_SLACK = 0.5
"""How far beyond what good frames showed a part may lie, as a share of their range."""
_LEFT = 0.2
"""Largest disagreement of aligned outlines: beyond it they belong to parts of no fixed shape."""

Place = tuple[float, float, float, float]
"""Centre (x, y) of a part and the standard deviation of its area (x, y), all as shares of the picture's sides."""

Places = NDArray[np.float64]
"""One `Place` a row, [N, 4]."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Alignment:
    """Cut each picture to `reach` standard deviations either way of its part, and scale that to `side` pixels.

    A part that cannot be told from the background is taken to lie at `usual`. Places are held between `lowest` and
    `highest`, a little beyond what good frames showed: a part further off is not brought in, and is judged as it lies.
    """

    side: int
    usual: Place
    lowest: Place
    highest: Place
    reach: float = 2.15

    def places(self, images: NDArray[np.uint8]) -> Places:
        """Where the part lies in each of `images`, uint8 [N, H, W, 3]."""
        found = [np.clip(locate(image) or self.usual, self.lowest, self.highest) for image in images]
        return np.array(found, np.float64).reshape(-1, 4)

    def cut(self, images: NDArray[np.uint8], places: Places) -> NDArray[np.uint8]:
        """The parts of `images`, uint8 [N, H, W, C] to [N, side, side, C]; borders are repeated outwards."""
        parts = np.empty((len(images), self.side, self.side, images.shape[3]), np.uint8)
        flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
        for part, image, place in zip(parts, images, places, strict=True):
            move = self._to_picture(place, part.shape[:2], image.shape[:2])
            cv2.warpAffine(image, move, (self.side, self.side), part, flags, cv2.BORDER_REPLICATE)
        return parts

    def back(self, maps: NDArray[np.float32], places: Places) -> NDArray[np.float32]:
        """Maps of aligned pictures, [N, rows, cols], as maps of the whole pictures; 0 where nothing was judged."""
        moved = np.empty_like(maps)
        for target, found, place in zip(moved, maps, places, strict=True):
            rows, cols = found.shape
            cv2.warpAffine(found, self._to_picture(place, (rows, cols), (rows, cols)), (cols, rows), target)
        return moved

    def _to_picture(self, place: Place, aligned: tuple[int, ...], picture: tuple[int, ...]) -> NDArray[np.float64]:
        """The affine map [2, 3] from pixels of the aligned picture to those of the whole, (rows, cols) each."""
        x, y, deviation_x, deviation_y = place
        (high, wide), (rows, cols) = aligned, picture
        step_x, step_y = 2 * self.reach * deviation_x * cols / wide, 2 * self.reach * deviation_y * rows / high
        left, top = (x - self.reach * deviation_x) * cols, (y - self.reach * deviation_y) * rows
        # pixels are counted by their centres
        return np.array([[step_x, 0, left + step_x / 2 - 0.5], [0, step_y, top + step_y / 2 - 0.5]])


def locate(image: NDArray[np.uint8]) -> Place | None:
    """Where the part lies in `image`, uint8 [H, W, 3]; None where no plain background can be told."""
    return _place_of(_outline(image))


def learn(images: NDArray[np.uint8], side: int) -> Alignment | None:
    """The alignment for good `images`, uint8 [N, H, W, 3]; None unless it clearly brings their parts together.

    Where parts lie alike, one that does not is a defect, and alignment would hide it. Where outlines differ from part
    to part, as those of biscuits do, their places say little: then good parts are no more alike after than before.
    """
    outlines = np.stack([_outline(image) for image in images])
    found = [place for outline in outlines if (place := _place_of(outline)) is not None]
    if len(found) < _BELIEVED * len(images):
        return None
    known = np.array(found)
    spread = known.std(axis=0)
    # centres vary by shares of the picture, sizes by shares of themselves
    if max(*spread[:2], *(spread[2:] / known[:, 2:].mean(axis=0))) < _SPREAD:
        return None
    lowest, highest = known.min(axis=0), known.max(axis=0)
    slack = _SLACK * (highest - lowest)
    alignment = Alignment(
        side=side,
        usual=_place(np.median(known, axis=0)),
        lowest=_place(np.maximum(lowest - slack, 0.01)),
        highest=_place(np.minimum(highest + slack, 0.99)),
    )
    told = 255 * outlines[~outlines.all(axis=(1, 2))].astype(np.uint8)[..., None]
    together = alignment.cut(told, known)
    return alignment if _disagreement(together) < min(_LEFT, _GAIN * _disagreement(told)) else None


def _outline(image: NDArray[np.uint8]) -> NDArray[np.bool_]:
    """The part's pixels at a small size, [_SIDE, _SIDE]; all of them where it cannot be told."""
    return foreground(cv2.resize(image, (_SIDE, _SIDE), interpolation=cv2.INTER_AREA))


def _place_of(outline: NDArray[np.bool_]) -> Place | None:
    if outline.all():
        return None
    rows, cols = np.nonzero(outline)
    centre = (float(cols.mean() + 0.5) / _SIDE, float(rows.mean() + 0.5) / _SIDE)
    return (*centre, float(cols.std()) / _SIDE, float(rows.std()) / _SIDE)


def _disagreement(outlines: NDArray[np.uint8]) -> float:
    """Mean Jaccard distance of `outlines`, [N, H, W, 1] in steps of 255, to what most of them cover."""
    inside = outlines[..., 0] > 127
    usual = inside.mean(axis=0) >= 0.5
    common, either = (inside & usual).sum(axis=(1, 2)), (inside | usual).sum(axis=(1, 2))
    return float((1 - common / either).mean())


def _place(values: Places) -> Place:
    x, y, deviation_x, deviation_y = (float(value) for value in values)
    return x, y, deviation_x, deviation_y
