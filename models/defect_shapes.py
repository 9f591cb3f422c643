"""Outlines of synthetic defects: how opaque each pixel of a small patch is.

Every function takes a random generator and the wanted area in pixels, and returns opacities float32 [h, w] in 0…1; the
patch is as large as the shape needs.
"""

from __future__ import annotations

import math

import cv2
import numpy as np
from numpy.typing import NDArray

Alpha = NDArray[np.float32]

_SUBPIXEL = 4
"""Fractional bits of the coordinates that OpenCV draws with: 1/16 pixel."""
_HARMONICS = 5
_PERLIN_SHARE = 0.35
"""Share of a Perlin patch that lies above the cut."""
_SCAR_CHANCE = 0.4
"""How often a cut-out is a thin scar; the paper takes both forms alike, but `line` draws thin defects too."""


def rectangle(rng: np.random.Generator, area: float) -> Alpha:
    """A turned rectangle or a thin scar (CutPaste, Li et al. 2021): sides of 0.3 to 3.3, scars of 1 to 4–12."""
    ratio = rng.uniform(4, 12) if rng.random() < _SCAR_CHANCE else math.exp(rng.uniform(math.log(0.3), math.log(3.3)))
    width, height = math.sqrt(area * ratio), math.sqrt(area / ratio)
    angle = rng.uniform(0, math.pi)
    turn = np.array([[math.cos(angle), -math.sin(angle)], [math.sin(angle), math.cos(angle)]])
    corners = np.array([[-width, -height], [width, -height], [width, height], [-width, height]]) / 2 @ turn.T
    return _filled(corners)


def irregular(rng: np.random.Generator, area: float) -> Alpha:
    """A round spot with an uneven rim, its edge between sharp and a third of the radius."""
    angles = np.linspace(0, 2 * math.pi, 64, endpoint=False)
    waves = np.arange(2, 2 + _HARMONICS)
    sizes = rng.uniform(0, 0.35, _HARMONICS) / np.sqrt(waves)
    phases = rng.uniform(0, 2 * math.pi, _HARMONICS)
    radii = 1 + (sizes[:, None] * np.cos(waves[:, None] * angles + phases[:, None])).sum(axis=0)
    radii = np.maximum(radii, 0.25)
    squash = math.exp(rng.uniform(-0.5, 0.5))
    outline = np.stack([radii * np.cos(angles) * squash, radii * np.sin(angles) / squash], axis=1)
    outline *= math.sqrt(area / (math.pi * float((radii**2).mean())))
    softness = rng.uniform(0, 0.33) * math.sqrt(area / math.pi)
    return _filled(outline, softness)


def line(rng: np.random.Generator, area: float, scale: float) -> Alpha:
    """A thin curve, 1 to 4 pixels wide on a picture of 256 pixels; `scale` is the picture's shorter side over 256."""
    width = max(1.0, scale * math.exp(rng.uniform(0, math.log(4))))
    longest = 200 * max(scale, 0.1)
    length = float(np.clip(area / width, 4 * width, longest))
    steps = max(8, int(length / 3))
    # the direction drifts, so that the curve bends one way and then another
    bends = rng.normal(0, rng.uniform(0, 1.5) / steps, steps) + rng.uniform(-1.2, 1.2) / steps
    directions = rng.uniform(0, 2 * math.pi) + np.cumsum(bends)
    points = np.cumsum(np.stack([np.cos(directions), np.sin(directions)], axis=1) * (length / steps), axis=0)
    patch, points = _canvas(points, math.ceil(width) + 2)
    drawn = max(1, round(width))
    fixed = np.round(points * 2**_SUBPIXEL).astype(np.int32)
    cv2.polylines(patch, [fixed], False, 255, drawn, cv2.LINE_AA, _SUBPIXEL)
    return np.asarray(patch / 255, np.float32)


def clouds(rng: np.random.Generator, area: float) -> Alpha:
    """Perlin noise above a cut (DRAEM, Zavrtanik et al. 2021), fading out before the edge of the patch."""
    side = max(6, round(math.sqrt(area / _PERLIN_SHARE)))
    cells = int(2 ** rng.integers(1, 4))
    noise = perlin(rng, side, side, min(cells, max(1, side // 4)))
    ramp = np.sin(np.linspace(0, math.pi, side + 2)[1:-1])
    noise += np.sqrt(np.outer(ramp, ramp)) - 1
    cut = np.quantile(noise, 1 - _PERLIN_SHARE)
    spread = max(float(noise.std()) * 0.15, 1e-6)
    return np.clip((noise - cut) / spread, 0, 1).astype(np.float32)


def perlin(rng: np.random.Generator, height: int, width: int, cells: int) -> NDArray[np.float64]:
    """Gradient noise (Perlin 1985, with the fade of 2002), float64 [height, width], about −0.7…0.7."""
    angles = rng.uniform(0, 2 * math.pi, (cells + 1, cells + 1))
    along, across = np.sin(angles), np.cos(angles)
    y, x = (np.linspace(0, cells, size, endpoint=False) for size in (height, width))
    row, col = y.astype(int), x.astype(int)
    y, x = (y - row)[:, None], (x - col)[None]

    def corner(down: int, right: int) -> NDArray[np.float64]:
        at = np.ix_(row + down, col + right)
        return np.asarray(along[at] * (y - down) + across[at] * (x - right))

    fade_y, fade_x = (t**3 * (t * (6 * t - 15) + 10) for t in (y, x))
    upper = corner(0, 0) * (1 - fade_x) + corner(0, 1) * fade_x
    lower = corner(1, 0) * (1 - fade_x) + corner(1, 1) * fade_x
    return np.asarray(upper * (1 - fade_y) + lower * fade_y)


def _filled(outline: NDArray[np.float64], softness: float = 0) -> Alpha:
    patch, outline = _canvas(outline, math.ceil(2 * softness) + 2)
    fixed = np.round(outline * 2**_SUBPIXEL).astype(np.int32)
    cv2.fillPoly(patch, [fixed], 255, cv2.LINE_AA, _SUBPIXEL)
    if softness > 0.5:
        patch = np.asarray(cv2.GaussianBlur(patch, (0, 0), softness))
    return np.asarray(patch / 255, np.float32)


def _canvas(points: NDArray[np.float64], margin: int) -> tuple[NDArray[np.uint8], NDArray[np.float64]]:
    """An empty patch around `points`, and the points on it."""
    low = points.min(axis=0) - margin
    width, height = np.ceil(points.max(axis=0) + margin - low).astype(int)
    return np.zeros((height, width), np.uint8), points - low
