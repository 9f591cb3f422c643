"""A drawn part, packed so that it can be lit and placed in about a millisecond.

The maps are uint8 or fixed-point; lighting is two weighted sums and three look-ups, because with the light in the
part's own frame both the diffuse and the specular term depend on one slope each: along the light and across it.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from producers.simulator.canvas import Canvas, span
from producers.simulator.texture import Floats

Bytes = NDArray[np.uint8]

SLOPE_UNIT = 80
"""uint8 steps of a slope of 1; 128 is level, so slopes reach ±1.6."""
HEIGHT_UNIT = 512
"""int16 steps of one design unit of relief."""
_FLAT = 100
"""The uint8 shade that leaves the albedo as it is."""

SHADOW_STEP, SHADOW_BORDER = 4, 6
_DARKNESS = 0.62

_dither = np.random.Generator(np.random.Philox(7)).random((257, 263), dtype=np.float32) - np.float32(0.5)


@dataclass(frozen=True, slots=True)
class Lamp:
    """Light as the part sees it: `azimuth` in radians in the part's frame, `elevation` over the table, in radians.

    `ambient` 0…1 is the share that comes from everywhere; `power` scales the highlights.
    """

    azimuth: float
    elevation: float
    ambient: float
    power: float


@dataclass(frozen=True, slots=True)
class Patch:
    """A canvas cut out of a sprite, and where it came from."""

    canvas: Canvas
    rows: slice
    columns: slice


@dataclass(frozen=True, slots=True)
class Sprite:
    """Packed material maps of one part.

    `albedo` [h, w, 3] BGR, `gloss`, `alpha`, `slope_x`, `slope_y` [h, w] are uint8, `height` [h, w] int16 in 1/512
    design units, `shadow` the blurred silhouette (see `soft_shadow`); `scale` is pixels per design unit, `roughness`
    the spread of a highlight, in slope.
    """

    albedo: Bytes
    gloss: Bytes
    alpha: Bytes
    slope_x: Bytes
    slope_y: Bytes
    height: NDArray[np.int16]
    shadow: Bytes
    scale: float
    roughness: float

    @classmethod
    def pack(cls, canvas: Canvas, roughness: float) -> Sprite:
        """The sprite of a finished canvas."""
        height = _to_fixed(canvas.height)
        slope_x, slope_y = _slopes(height, canvas.scale, slice(None), slice(None))
        albedo = cv2.merge([_to_bytes(plane) for plane in canvas.albedo])
        gloss, alpha = _to_bytes(canvas.gloss), _to_bytes(canvas.alpha)
        shadow = soft_shadow(alpha, canvas.scale)
        return cls(albedo, gloss, alpha, slope_x, slope_y, height, shadow, canvas.scale, roughness)

    def patch(self, x: float, y: float, reach: float, seed: int) -> Patch:
        """A canvas of the square of ±`reach` design units around (x, y), to draw on and `mend` back."""
        rows, columns = self.alpha.shape
        whole = Canvas.grid(rows, columns, self.scale)
        window = (span(whole[1][:, 0], y, reach), span(whole[0][0], x, reach))
        row, column = window
        canvas = Canvas(
            x=whole[0][window],
            y=whole[1][window],
            albedo=np.ascontiguousarray(self.albedo[window].transpose(2, 0, 1)).astype(np.float32) / 255,
            height=self.height[window].astype(np.float32) / HEIGHT_UNIT,
            gloss=self.gloss[window].astype(np.float32) / 255,
            alpha=self.alpha[window].astype(np.float32) / 255,
            scale=self.scale,
            seed=seed,
        )
        return Patch(canvas, row, column)

    def mend(self, patch: Patch) -> Sprite:
        """A copy of the sprite with a drawn patch in it; what the patch left alone stays bit for bit the same."""
        where = (patch.rows, patch.columns)
        albedo, gloss, alpha = self.albedo.copy(), self.gloss.copy(), self.alpha.copy()
        height = self.height.copy()
        canvas = patch.canvas
        albedo[where] = cv2.merge([_to_bytes(plane) for plane in canvas.albedo])
        gloss[where], alpha[where] = _to_bytes(canvas.gloss), _to_bytes(canvas.alpha)
        height[where] = _to_fixed(canvas.height)
        rows = slice(max(patch.rows.start - 1, 0), patch.rows.stop + 1)
        columns = slice(max(patch.columns.start - 1, 0), patch.columns.stop + 1)
        slope_x, slope_y = self.slope_x.copy(), self.slope_y.copy()
        slope_x[rows, columns], slope_y[rows, columns] = _slopes(height, self.scale, rows, columns)
        shadow = soft_shadow(alpha, self.scale)
        return Sprite(albedo, gloss, alpha, slope_x, slope_y, height, shadow, self.scale, self.roughness)

    def lit(self, lamp: Lamp, tint: tuple[float, float, float] = (1.0, 1.0, 1.0)) -> Bytes:
        """The part under a lamp, [h, w, 3] BGR uint8; `tint` is the gain of blue, green, red of its own colour."""
        along, across = float(np.cos(lamp.azimuth)), float(np.sin(lamp.azimuth))
        towards = cv2.addWeighted(self.slope_x, along, self.slope_y, across, 128 * (1 - along - across))
        sideways = cv2.addWeighted(self.slope_x, -across, self.slope_y, along, 128 * (1 + across - along))
        diffuse, peak, ridge = _tables(lamp, self.roughness)
        shades = [cv2.LUT(towards, _to_table(diffuse * gain)) for gain in tint]
        shine = cv2.multiply(cv2.LUT(towards, peak), cv2.LUT(sideways, ridge), scale=1 / 255)
        shine = cv2.multiply(shine, self.gloss, scale=1 / 255)
        body = cv2.multiply(self.albedo, cv2.merge(shades), scale=1 / _FLAT)
        lit: Bytes = cv2.add(body, cv2.merge((shine, shine, shine)))
        return lit


def soft_shadow(alpha: Bytes, scale: float) -> Bytes:
    """The light on the ground right below a part, uint8 with 255 for all of it.

    Shadows are soft, so they are kept at 1/`SHADOW_STEP` of the part's resolution, with `SHADOW_BORDER` pixels around.
    """
    small = cv2.resize(alpha, None, fx=1 / SHADOW_STEP, fy=1 / SHADOW_STEP, interpolation=cv2.INTER_AREA)
    small = cv2.copyMakeBorder(small, SHADOW_BORDER, SHADOW_BORDER, SHADOW_BORDER, SHADOW_BORDER, cv2.BORDER_CONSTANT)
    soft = cv2.GaussianBlur(small, (0, 0), max(4.5 * scale / SHADOW_STEP, 0.5))
    light: Bytes = cv2.addWeighted(soft, -_DARKNESS, soft, 0, 255)
    return light


def _tables(lamp: Lamp, roughness: float) -> tuple[Floats, Bytes, Bytes]:
    """Functions of the slope: diffuse shade in steps of 1/100, and the two factors of a highlight.

    The highlight is Gaussian in slope, as in Beckmann's model of rough surfaces, and therefore separable.
    """
    slope = (np.arange(256, dtype=np.float32) - 128) / SLOPE_UNIT
    # the surface falls away from the lamp where height grows towards it
    facing = (np.sin(lamp.elevation) - np.cos(lamp.elevation) * slope) / np.sqrt(1 + slope**2)
    diffuse = lamp.ambient + (1 - lamp.ambient) * np.maximum(facing, 0) / np.sin(lamp.elevation)
    mirror = -np.tan((np.pi / 2 - lamp.elevation) / 2)
    peak = np.exp(-(((slope - mirror) / roughness) ** 2) / 2) * lamp.power
    ridge = np.exp(-((slope / roughness) ** 2) / 2)
    return diffuse * _FLAT, _to_table(peak * 255), _to_table(ridge * 255)


def _to_table(values: Floats) -> Bytes:
    return np.clip(np.round(values), 0, 255).astype(np.uint8)


def _to_bytes(values: Floats) -> Bytes:
    rounded: Bytes = np.clip(values * 255 + np.float32(0.5), 0, 255).astype(np.uint8)
    return rounded


def _to_fixed(height: Floats) -> NDArray[np.int16]:
    return np.clip(np.round(height * HEIGHT_UNIT), -32768, 32767).astype(np.int16)


def _slopes(height: NDArray[np.int16], scale: float, rows: slice, columns: slice) -> tuple[Bytes, Bytes]:
    """Slopes along x and y as bytes within a window; a fixed dither keeps gentle domes free of bands."""
    row = np.arange(height.shape[0])[rows]
    column = np.arange(height.shape[1])[columns]
    down = height[_kept(row + 1, height.shape[0])][:, column].astype(np.float32)
    up = height[_kept(row - 1, height.shape[0])][:, column]
    right = height[row][:, _kept(column + 1, height.shape[1])].astype(np.float32)
    left = height[row][:, _kept(column - 1, height.shape[1])]
    noise = _dither[np.ix_(row % 257, column % 263)]
    gain = np.float32(scale * SLOPE_UNIT / (2 * HEIGHT_UNIT))
    steps = [
        np.clip(np.round(difference * gain + noise) + 128, 0, 255).astype(np.uint8)
        for difference in (right - left, down - up)
    ]
    return steps[0], steps[1]


def _kept(index: NDArray[np.intp], size: int) -> NDArray[np.intp]:
    kept: NDArray[np.intp] = np.clip(index, 0, size - 1)
    return kept
