"""Noise fields that turn flat colours into materials.

Every function takes the random generator that it draws from and gives float32 of the asked shape with mean near 0 and
standard deviation near 1, so that a caller scales it to the material's own amplitude.
"""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.floating]
"""A field of numbers, float32 wherever it is kept."""


def grain(rng: np.random.Generator, shape: tuple[int, int], size: float = 0.0) -> Floats:
    """Isotropic grain, [h, w]; `size` is its correlation length in pixels (0: white noise)."""
    field = rng.standard_normal(shape, dtype=np.float32)
    if size <= 0.3:
        return field
    return _unit(cv2.GaussianBlur(field, (0, 0), size, borderType=cv2.BORDER_REFLECT))


def clouds(rng: np.random.Generator, shape: tuple[int, int], cell: float, octaves: int = 3) -> Floats:
    """Fractal noise, [h, w]; the coarsest blotches are about `cell` pixels wide, each octave half the one before."""
    total = np.zeros(shape, np.float32)
    for octave in range(octaves):
        step = max(cell / 2**octave, 1.0)
        coarse = (int(shape[0] / step) + 3, int(shape[1] / step) + 3)
        knots = rng.standard_normal(coarse, dtype=np.float32)
        total += cv2.resize(knots, (shape[1], shape[0]), interpolation=cv2.INTER_CUBIC) * np.float32(0.6**octave)
    return _unit(total)


def brushed(rng: np.random.Generator, shape: tuple[int, int], length: float, angle: float = 0.0) -> Floats:
    """Strokes of about `length` pixels, [h, w], as brushing leaves them; `angle` in radians, 0 along x."""
    field = rng.standard_normal(shape, dtype=np.float32)
    return _unit(cv2.filter2D(field, -1, stroke_kernel(length, angle), borderType=cv2.BORDER_REFLECT))


def turned(rng: np.random.Generator, radius: Floats, pitch: float) -> Floats:
    """Concentric tool marks over a field of radii, [h, w]; `pitch` is the groove width in the unit of `radius`."""
    grooves = int(float(radius.max()) / pitch) + 3
    ring = rng.standard_normal(grooves, dtype=np.float32)
    position = radius / np.float32(pitch)
    index = position.astype(np.int32)
    part = position - index
    return _unit(ring[index] * (1 - part) + ring[index + 1] * part)


def stroke_kernel(length: float, angle: float) -> Floats:
    """A line of `length` pixels through the middle of a square kernel, weights summing to 1."""
    half = max(int(np.ceil(length / 2)), 1)
    kernel = np.zeros((2 * half + 1, 2 * half + 1), np.uint8)
    reach = np.array([np.cos(angle), np.sin(angle)]) * length / 2
    start, end = np.round((half - reach) * 16), np.round((half + reach) * 16)
    cv2.line(kernel, start.astype(int).tolist(), end.astype(int).tolist(), 255, 1, cv2.LINE_AA, shift=4)
    weights = kernel.astype(np.float32)
    return weights / max(float(weights.sum()), 1.0)


def _unit(field: Floats) -> Floats:
    spread = float(field.std())
    level: Floats = (field - field.mean()) / np.float32(spread if spread > 1e-6 else 1.0)
    return level
