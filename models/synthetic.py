"""Made-up defects with exact masks, to validate and calibrate a detector before the first real defect is known.

Cut-outs follow CutPaste (Li et al. 2021, arXiv:2104.04015), clouds of foreign texture DRAEM (Zavrtanik et al. 2021,
arXiv:2108.07610); scratches, stains and missing material are what production lines report most. They stand in for real
defects and are not real ones: a detector that finds them all may still miss what nobody thought of.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from models import defect_shapes as shapes
from models.runtime.foreground import foreground
from sightline.errors import SourceError

MIN_SIDE = 32
"""Smallest picture side that a defect can be told from noise on."""
CHANGE = 8
"""A pixel belongs to the mask when a channel changed by more than this, of 255; JPEG noise of cameras stays below."""
SMALLEST, LARGEST = 0.0005, 0.05
"""Area of a defect as a share of the picture; drawn evenly over the logarithm."""

_ATTEMPTS = 6
_FEWEST_PIXELS = 5
_SUBTLE, _STRONG = 18.0, 140.0
"""Change of brightness of scratches and stains, of 255."""
_GREY = 1.5
"""Mean difference of the channels, of 255, below which a picture has no colour."""

Image = NDArray[np.uint8]
Pixels = NDArray[np.float32]


class Kind(StrEnum):
    """What a synthetic defect imitates."""

    CUT_PASTE = "cut_paste"
    PERLIN = "perlin"
    SCRATCH = "scratch"
    BLOB = "blob"
    MISSING = "missing"


ALL = tuple(Kind)


class Synthetic(NamedTuple):
    """`images` uint8 [N, H, W, 3]; `masks` bool [N, H, W], true where a picture changed; `kinds`, one a picture."""

    images: Image
    masks: NDArray[np.bool_]
    kinds: tuple[Kind, ...]


def synthesise(images: Image, seed: int, kinds: Sequence[Kind | str] = ALL) -> Synthetic:
    """One defect in each of `images`, uint8 [N, H, W, 3]; the same for the same pictures, seed and kinds.

    Kinds come equally often, sizes from SMALLEST to LARGEST, contrasts from hardly visible to strong. A defect lies on
    the part where `foreground` can tell it. No mask is empty. Raises SourceError for pictures that are too small or not
    uint8 RGB, and for an unknown kind.
    """
    wanted = _checked(images, kinds)
    rng = np.random.default_rng(seed)
    order = tuple(wanted[position % len(wanted)] for position in rng.permutation(len(images)))
    changed, masks = images.copy(), np.empty(images.shape[:3], np.bool_)
    for index, (kind, child) in enumerate(zip(order, rng.spawn(len(images)), strict=True)):
        scene = _Scene(images[index], foreground(images[index]), images)
        changed[index], masks[index] = _damaged(scene, kind, child)
    return Synthetic(changed, masks, order)


@dataclass(frozen=True, slots=True)
class _Scene:
    """One picture, where its part lies, and the pictures that foreign texture is taken from."""

    image: Image
    part: NDArray[np.bool_]
    sources: Image

    @property
    def grey(self) -> bool:
        """Whether the camera sees no colour: then a defect has none either."""
        return float(np.ptp(self.image[::4, ::4], axis=2).mean()) < _GREY

    @property
    def scale(self) -> float:
        """Shorter side over 256, the size that widths in pixels are meant for."""
        return float(min(self.image.shape[:2])) / 256


def _damaged(scene: _Scene, kind: Kind, rng: np.random.Generator) -> tuple[Image, NDArray[np.bool_]]:
    """The picture with a defect, and where it changed; the last attempt cannot fail."""
    height, width, _ = scene.image.shape
    fewest = max(_FEWEST_PIXELS, SMALLEST / 3 * height * width)
    for attempt in range(_ATTEMPTS + 1):
        last = attempt == _ATTEMPTS
        area = height * width * math.exp(rng.uniform(math.log(SMALLEST), math.log(LARGEST)))
        if last:
            area = max(area, 4 * fewest)
        alpha = shapes.line(rng, area, scene.scale) if kind is Kind.SCRATCH else _OUTLINES[kind](rng, area)
        alpha = alpha[:height, :width]
        top, left = _place(scene.part, alpha.shape, rng)
        box = slice(top, top + alpha.shape[0]), slice(left, left + alpha.shape[1])
        if not last:
            alpha = alpha * scene.part[box]
        under = scene.image[box].astype(np.float32)
        fill = _opposite(under, alpha) if last else _FILLS[kind](scene, under, alpha, rng)
        if scene.grey:
            fill = fill.mean(axis=2, keepdims=True)
        blended = np.clip(np.rint(under + alpha[..., None] * (fill - under)), 0, 255).astype(np.uint8)
        mask = np.zeros((height, width), np.bool_)
        mask[box] = np.abs(blended.astype(np.int16) - scene.image[box]).max(axis=2) > CHANGE
        if mask.sum() >= fewest:
            break
    changed = scene.image.copy()
    # what changed less than noticeably is left as it was, so that the mask is the whole truth
    changed[box][mask[box]] = blended[mask[box]]
    return changed, mask


def _place(part: NDArray[np.bool_], shape: tuple[int, ...], rng: np.random.Generator) -> tuple[int, int]:
    """Upper left corner of a patch of `shape` that lies in the picture, its middle on the part where that goes."""
    centre = int(rng.choice(np.flatnonzero(part)))
    (row, col), limits = divmod(centre, part.shape[1]), [a - b for a, b in zip(part.shape, shape, strict=True)]
    return int(np.clip(row - shape[0] // 2, 0, limits[0])), int(np.clip(col - shape[1] // 2, 0, limits[1]))


def _pasted(scene: _Scene, _under: Pixels, alpha: Pixels, rng: np.random.Generator) -> Pixels:
    """Another place of another picture, turned by up to 45° and jittered in light and colour."""
    patch = _elsewhere(scene, alpha.shape, rng)
    light, tint = rng.uniform(0.7, 1.3), rng.uniform(-12, 12, 3)
    return np.asarray(patch * light + tint, np.float32)


def _foreign(scene: _Scene, under: Pixels, alpha: Pixels, rng: np.random.Generator) -> Pixels:
    """Texture that does not belong here, blended in with an opacity of 0.2 to 1."""
    height, width = alpha.shape
    if rng.random() < 0.5:
        patch = _elsewhere(scene, alpha.shape, rng, zoom=rng.uniform(0.3, 2))[..., rng.permutation(3)]
        if rng.random() < 0.5:
            patch = 255 - patch
        patch = (patch - 128) * rng.uniform(0.5, 2) + 128 + rng.uniform(-60, 60)
    else:
        noise = shapes.perlin(rng, height, width, int(rng.integers(2, 9)))
        rows, cols = np.mgrid[:height, :width]
        angle, period = rng.uniform(0, math.pi), rng.uniform(4, 16) * max(scene.scale, 0.25)
        waves = np.sin(2 * math.pi * (rows * math.sin(angle) + cols * math.cos(angle)) / period + 6 * noise)
        first, second = rng.uniform(0, 255, (2, 3))
        mix = (waves if rng.random() < 0.5 else np.clip(3 * noise, -1, 1))[..., None] / 2 + 0.5
        patch = first * mix + second * (1 - mix)
    return np.asarray(under + rng.uniform(0.2, 1) * (patch - under), np.float32)


def _shifted(_scene: _Scene, under: Pixels, alpha: Pixels, rng: np.random.Generator) -> Pixels:
    """The same surface darker or brighter, slightly tinted; away from the end of the range that it is at."""
    contrast = math.exp(rng.uniform(math.log(_SUBTLE), math.log(_STRONG)))
    mean = _mean(under, alpha).mean()
    darker = mean > contrast and (mean + contrast > 255 or rng.random() < 0.5)
    return np.asarray(under + (-contrast if darker else contrast) * rng.uniform(0.8, 1, 3), np.float32)


def _stained(scene: _Scene, under: Pixels, alpha: Pixels, rng: np.random.Generator) -> Pixels:
    """A stain, through which the surface shows, or a hole, through which it does not."""
    shifted = _shifted(scene, under, alpha, rng)
    if rng.random() < 0.6:
        return shifted
    return np.asarray(_mean(shifted, alpha) + rng.normal(0, 3, under.shape), np.float32)


def _absent(scene: _Scene, under: Pixels, alpha: Pixels, rng: np.random.Generator) -> Pixels:
    """What is seen where material or a feature is missing: the surface around, its mean, or the background."""
    choice = rng.random()
    if choice < 0.3 and not scene.part.all():
        colour = np.median(scene.image[~scene.part], axis=0)
    elif choice < 0.65:
        hole = (alpha > 0.02).astype(np.uint8)
        return np.asarray(cv2.inpaint(under.astype(np.uint8), hole, 3, cv2.INPAINT_TELEA), np.float32)
    else:
        colour = _mean(under, 1 - alpha)
    return np.asarray(colour + rng.normal(0, 2, under.shape), np.float32)


def _opposite(under: Pixels, alpha: Pixels) -> Pixels:
    return np.full_like(under, 0.0 if _mean(under, alpha).mean() > 127 else 255.0)


def _elsewhere(scene: _Scene, shape: tuple[int, ...], rng: np.random.Generator, zoom: float = 1) -> Pixels:
    """A patch of `shape` around a random point of a random source, turned, perhaps mirrored."""
    source = scene.sources[rng.integers(len(scene.sources))]
    height, width = shape
    centre = tuple(float(value) for value in rng.uniform(0.15, 0.85, 2) * (source.shape[1], source.shape[0]))
    turn = cv2.getRotationMatrix2D(centre, rng.uniform(-45, 45), zoom)
    turn[:, 2] += np.array([width / 2, height / 2]) - centre
    if rng.random() < 0.5:
        turn[0] = -turn[0]
        turn[0, 2] += width
    return np.asarray(cv2.warpAffine(source, turn, (width, height), borderMode=cv2.BORDER_REFLECT_101), np.float32)


def _mean(pixels: Pixels, weights: Pixels) -> NDArray[np.float64]:
    """Weighted mean colour [3]; the plain one where nothing weighs."""
    weights = weights if weights.sum() > 0 else np.ones_like(weights)
    return np.average(pixels.reshape(-1, 3), axis=0, weights=weights.reshape(-1))


_OUTLINES: dict[Kind, Callable[[np.random.Generator, float], shapes.Alpha]] = {
    Kind.CUT_PASTE: shapes.rectangle,
    Kind.PERLIN: shapes.clouds,
    Kind.BLOB: shapes.irregular,
    Kind.MISSING: shapes.irregular,
}

_FILLS: dict[Kind, Callable[[_Scene, Pixels, Pixels, np.random.Generator], Pixels]] = {
    Kind.CUT_PASTE: _pasted,
    Kind.PERLIN: _foreign,
    Kind.SCRATCH: _shifted,
    Kind.BLOB: _stained,
    Kind.MISSING: _absent,
}


def _checked(images: Image, kinds: Sequence[Kind | str]) -> tuple[Kind, ...]:
    if images.ndim != 4 or images.shape[3] != 3 or images.dtype != np.uint8 or not len(images):
        raise SourceError(
            f"pictures are {images.dtype} {list(images.shape)}; give at least one as uint8 [N, height, width, 3]"
        )
    if min(images.shape[1:3]) < MIN_SIDE:
        raise SourceError(
            f"pictures are {images.shape[2]}×{images.shape[1]} pixels; synthetic defects need {MIN_SIDE} a side"
        )
    try:
        wanted = tuple(Kind(kind) for kind in kinds)
    except ValueError as error:
        raise SourceError(f"{error}: choose kinds from {', '.join(ALL)}") from error
    if not wanted:
        raise SourceError(f"no kind of defect was chosen; choose from {', '.join(ALL)}")
    return wanted
